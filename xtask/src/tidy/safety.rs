// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Every promise has a reason: `// SAFETY:` above a block or an impl, `# Safety` in the docs of a declaration.

use crate::tidy::tokens::{self, Kind, Use};
use crate::tidy::{Objection, SourceFile};

/// Checks all Rust files.
#[must_use]
pub fn check(files: &[SourceFile]) -> Vec<Objection> {
    files
        .iter()
        .filter(|file| file.is_rust())
        .flat_map(check_file)
        .collect()
}

fn check_file(file: &SourceFile) -> Vec<Objection> {
    let object = |line, what: String| Objection {
        file: file.path.clone(),
        line,
        what,
    };
    let uses = match tokens::uses(&file.text) {
        Ok(uses) => uses,
        Err(err) => return vec![object(0, err.to_string())],
    };
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    uses.iter()
        .filter(|found| needs_comment(found) && !has_comment(&lines, found.line - 1))
        .map(|found| {
            object(
                found.line,
                "say why this is sound in a `// SAFETY:` comment above it".to_owned(),
            )
        })
        .collect()
}

/// Declarations are left to clippy's `missing_safety_doc`; an attribute's promise is that the name is unique.
fn needs_comment(found: &Use) -> bool {
    matches!(found.kind, Kind::Block | Kind::Impl)
}

/// Looks for the comment above the statement in which line `at` stands, or on the line itself.
fn has_comment(lines: &[&str], at: usize) -> bool {
    let is_reason = |line: &str| line.contains("// SAFETY:") || line.contains("/* SAFETY:");
    if is_reason(lines[at]) {
        return true;
    }
    for line in lines[..at].iter().rev() {
        if is_reason(line) {
            return true;
        }
        let in_comment = line.starts_with("//") || line.starts_with('*') || line.starts_with("/*");
        let in_attribute = line.starts_with("#[");
        // The statement began further up, unless the line above ends something.
        let ends_here = line.is_empty() || line.ends_with([';', '{', '}']);
        if !in_comment && !in_attribute && ends_here {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines_objected(text: &str) -> Vec<usize> {
        check(&[SourceFile {
            path: "a.rs".into(),
            text: text.to_owned(),
        }])
        .iter()
        .map(|o| o.line)
        .collect()
    }

    #[test]
    fn a_comment_counts_above_the_statement_or_inside_it() {
        assert_eq!(
            lines_objected("fn f() {\n    // SAFETY: `p` is valid.\n    unsafe { g(p) };\n}\n"),
            NONE
        );
        assert_eq!(
            lines_objected(
                "fn f() {\n    // SAFETY: a reason that takes\n    // two lines.\n    let x =\n        unsafe { g() };\n}\n"
            ),
            NONE
        );
        assert_eq!(
            lines_objected("// SAFETY: plain data.\n#[cfg(x)]\nunsafe impl Send for S {}\n"),
            NONE
        );
    }

    #[test]
    fn a_comment_of_another_statement_does_not_count() {
        assert_eq!(
            lines_objected(
                "fn f() {\n    // SAFETY: x.\n    unsafe { g() };\n    unsafe { h() };\n}\n"
            ),
            [4]
        );
        assert_eq!(lines_objected("unsafe impl Send for S {}\n"), [1]);
        assert_eq!(
            lines_objected("fn f() {\n    // Not a reason.\n    unsafe { g() }\n}\n"),
            [3]
        );
    }
}
