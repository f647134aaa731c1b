// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The protocol's lines.

use super::*;

#[test]
fn a_request_is_one_line_and_comes_back_whole() {
    let request = Request {
        id: 7,
        op: Op::InChild {
            ops: vec![Op::WriteFile {
                path: "/a\nb".into(),
                bytes: vec![0, 10, 255],
            }],
            then: Ending::Kill9,
            timeout_ms: 5,
        },
    };
    let line = serde_json::to_string(&request).unwrap();
    assert!(!line.contains('\n'), "{line}");
    assert_eq!(
        serde_json::from_str::<Request>(&line).unwrap().op,
        request.op
    );
}

#[test]
fn an_errno_survives_the_way() {
    let reply = FromGuest::Reply {
        id: 1,
        ns: 2,
        outcome: Err(Failure {
            errno: 17,
            message: "create".into(),
        }),
    };
    let line = serde_json::to_string(&reply).unwrap();
    let FromGuest::Reply { outcome, .. } = serde_json::from_str(&line).unwrap() else {
        panic!("not a reply: {line}")
    };
    assert_eq!(outcome.unwrap_err().errno, 17);
}
