// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * A client that speaks the published protocol of luo-agent and nothing else: newline-delimited JSON on a stream socket, SUBSCRIBE,
 * START_PRESERVATION with the session as SCM_RIGHTS, READY; in the next kernel CLAIM, the session, RETRIEVE_FD, FINISH.
 *
 *     luo-agent-client SOCKET ID carry TEXT     preserves a memory file full of TEXT
 *     luo-agent-client SOCKET ID claim TEXT     gets it back, and compares
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SESSION_PRESERVE_FD 0xBA40
#define SESSION_RETRIEVE_FD 0xBA41
#define SESSION_FINISH 0xBA42

struct token_fd {
	uint32_t size;
	int32_t fd;
	uint64_t token __attribute__((aligned(8)));
};

struct finish {
	uint32_t size;
	uint32_t reserved;
};

#define TOKEN 0x1234
#define FILE_BYTES (1 << 20)

static void die(const char *what)
{
	fprintf(stderr, "luo-agent-client: %s: %s\n", what, errno ? strerror(errno) : "not as published");
	exit(1);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		die("socket");
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		die(path);
	return fd;
}

static void send_line(int fd, const char *line)
{
	if (write(fd, line, strlen(line)) != (ssize_t)strlen(line))
		die("write");
}

/* Reads a line, and the descriptor that comes with it, or -1. */
static int read_line(int fd, char *line, size_t size)
{
	size_t length = 0;
	int received = -1;

	while (length + 1 < size) {
		union {
			char bytes[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control;
		struct iovec part = { line + length, 1 };
		struct msghdr message = {
			.msg_iov = &part,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes),
		};
		struct cmsghdr *header;

		if (recvmsg(fd, &message, 0) != 1)
			die("the connection has ended");
		header = CMSG_FIRSTHDR(&message);
		if (header && header->cmsg_type == SCM_RIGHTS)
			memcpy(&received, CMSG_DATA(header), sizeof(int));
		if (line[length++] == '\n')
			break;
	}
	line[length] = 0;
	return received;
}

/* Ignores what it does not know. */
static int await_session(int fd)
{
	char line[65536];
	int session;

	do {
		session = read_line(fd, line, sizeof(line));
		printf("received %s", line);
		if (strstr(line, "\"ERROR\""))
			die("refused");
	} while (session < 0);
	return session;
}

static unsigned char *map(int file)
{
	void *memory = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static void carry(int fd, const char *id, const char *text)
{
	struct token_fd preserve = { .size = sizeof(preserve), .token = TOKEN };
	char line[256];
	int session, file = memfd_create("luo-agent-client", MFD_ALLOW_SEALING);
	unsigned char *memory;

	if (file < 0 || ftruncate(file, FILE_BYTES))
		die("memfd");
	memory = map(file);
	for (size_t i = 0; i < FILE_BYTES; i++)
		memory[i] = (unsigned char)text[i % strlen(text)];
	snprintf(line, sizeof(line), "{\"cmd\": \"SUBSCRIBE\", \"id\": \"%s\"}\n", id);
	send_line(fd, line);
	printf("subscribed\n");
	session = await_session(fd);
	preserve.fd = file;
	if (ioctl(session, SESSION_PRESERVE_FD, &preserve))
		die("PRESERVE_FD");
	send_line(fd, "{\"cmd\": \"READY\"}\n");
	printf("ready\n");
	for (;;)
		pause();
}

static void claim(int fd, const char *id, const char *text)
{
	struct token_fd retrieve = { .size = sizeof(retrieve), .fd = -1, .token = TOKEN };
	struct finish finish = { .size = sizeof(finish) };
	char line[256];
	unsigned char *memory;
	int session;

	snprintf(line, sizeof(line), "{\"cmd\": \"CLAIM\", \"id\": \"%s\"}\n", id);
	send_line(fd, line);
	session = await_session(fd);
	if (ioctl(session, SESSION_RETRIEVE_FD, &retrieve))
		die("RETRIEVE_FD");
	memory = map(retrieve.fd);
	for (size_t i = 0; i < FILE_BYTES; i++)
		if (memory[i] != (unsigned char)text[i % strlen(text)])
			die("wrong data");
	if (ioctl(session, SESSION_FINISH, &finish))
		die("FINISH");
	printf("finished\n");
}

int main(int argc, char **argv)
{
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 5) {
		fprintf(stderr, "luo-agent-client SOCKET ID carry|claim TEXT\n");
		return 2;
	}
	fd = connect_to(argv[1]);
	errno = 0;
	if (!strcmp(argv[3], "carry"))
		carry(fd, argv[2], argv[4]);
	else
		claim(fd, argv[2], argv[4]);
	return 0;
}
