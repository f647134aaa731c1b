// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask`: everything one does with this repository.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::task::{
    bench::Bench, demo::Demo, doctor::Doctor, golden::Golden, hostile::Hostile, kernel::Kernel,
    mutants::Mutants, soak::Soak, test::Test, tidy::Tidy, vm::Vm,
};

/// The tasks of this repository
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Demo(Demo),
    Doctor(Doctor),
    Golden(Golden),
    Kernel(Kernel),
    Mutants(Mutants),
    Soak(Soak),
    Tidy(Tidy),
    Test(Test),
    Bench(Bench),
    Hostile(Hostile),
    Vm(Vm),
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(code) => code,
        Err(err) => {
            eprintln!("error: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Demo(demo) => demo.run(),
        Task::Doctor(doctor) => doctor.run(),
        Task::Golden(golden) => golden.run().map(|()| ExitCode::SUCCESS),
        Task::Soak(soak) => soak.run(),
        Task::Kernel(kernel) => kernel.run().map(|()| ExitCode::SUCCESS),
        Task::Mutants(mutants) => mutants.run(),
        Task::Tidy(tidy) => tidy.run(),
        Task::Test(test) => test.run(),
        Task::Bench(bench) => bench.run(),
        Task::Hostile(hostile) => hostile.run(),
        Task::Vm(vm) => vm.run().map(|()| ExitCode::SUCCESS),
    }
}
