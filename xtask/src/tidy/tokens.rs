// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Uses of `unsafe` in a Rust text, found by its tokens: comments, strings and names cannot be mistaken for them, and
//! the bodies of macros are seen too. The text need not compile, as the overlay's does not outside of a kernel.

use std::str::FromStr as _;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What an `unsafe` introduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `unsafe { … }`: relies on a promise of the code around it.
    Block,
    /// `unsafe fn`, `unsafe trait`, `unsafe extern`: demands a promise of others.
    Declaration,
    /// `unsafe impl`: makes a promise.
    Impl,
    /// `#[unsafe(no_mangle)]` and the like.
    Attribute,
}

/// One use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// What it introduces.
    pub kind: Kind,
    /// Counted from one.
    pub line: usize,
}

/// Finds every use in a text, in order. Types of function pointers are not uses.
///
/// # Errors
/// The text is not a sequence of Rust tokens.
pub fn uses(text: &str) -> Result<Vec<Use>> {
    let stream = TokenStream::from_str(text)
        .map_err(|err| anyhow!("line {}: not Rust: {err}", err.span().start().line))?;
    let mut found = Vec::new();
    collect(stream, &mut found);
    Ok(found)
}

fn collect(stream: TokenStream, found: &mut Vec<Use>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if word == "unsafe" => {
                if let Some(kind) = classify(&tokens[at + 1..]) {
                    found.push(Use {
                        kind,
                        line: word.span().start().line,
                    });
                }
            }
            TokenTree::Group(group) => collect(group.stream(), found),
            _ => {}
        }
    }
}

/// Tells what the tokens after an `unsafe` make of it.
fn classify(rest: &[TokenTree]) -> Option<Kind> {
    match rest.first()? {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(Kind::Block),
        TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => {
            Some(Kind::Attribute)
        }
        TokenTree::Ident(word) => match word.to_string().as_str() {
            "impl" => Some(Kind::Impl),
            "trait" | "auto" => Some(Kind::Declaration),
            "fn" => is_named(&rest[1..]).then_some(Kind::Declaration),
            "extern" => {
                let abi = usize::from(matches!(rest.get(1), Some(TokenTree::Literal(_))));
                match rest.get(1 + abi)? {
                    TokenTree::Ident(word) if word == "fn" => {
                        is_named(&rest[2 + abi..]).then_some(Kind::Declaration)
                    }
                    _ => Some(Kind::Declaration),
                }
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether a name follows `fn`: a pointer's type has none. In a macro the name may be a variable, `$name`.
fn is_named(rest: &[TokenTree]) -> bool {
    match rest.first() {
        Some(TokenTree::Ident(_)) => true,
        Some(TokenTree::Punct(punct)) => punct.as_char() == '$',
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        uses(text)
            .unwrap()
            .into_iter()
            .map(|found| found.kind)
            .collect()
    }

    #[test]
    fn each_kind_is_recognized() {
        assert_eq!(kinds("fn f() { unsafe { g() } }"), [Kind::Block]);
        assert_eq!(
            kinds("unsafe fn f() {} pub unsafe extern \"C\" fn g() {}"),
            [Kind::Declaration; 2]
        );
        assert_eq!(
            kinds("unsafe trait T {} unsafe extern \"C\" { fn f(); }"),
            [Kind::Declaration; 2]
        );
        assert_eq!(kinds("unsafe impl<T> Send for S<T> {}"), [Kind::Impl]);
        assert_eq!(
            kinds("#[unsafe(no_mangle)] extern \"C\" fn f() {}"),
            [Kind::Attribute]
        );
    }

    #[test]
    fn what_only_looks_like_it_is_not_counted() {
        assert_eq!(
            kinds(
                "// unsafe { }\n/* unsafe fn f */ /// unsafe {}\nfn unsafe_name() { \"unsafe { }\"; }"
            ),
            []
        );
        assert_eq!(
            kinds("type F = unsafe extern \"C\" fn(u32) -> i32; struct S { f: unsafe fn() }"),
            []
        );
        assert_eq!(
            kinds("#![deny(unsafe_op_in_unsafe_fn)] fn f() { let r#unsafe = 1; }"),
            []
        );
    }

    #[test]
    fn bodies_of_macros_count_and_lines_are_right() {
        let text = "macro_rules! m {\n    ($n:ident) => {\n        unsafe fn $n() {\n            unsafe { f() }\n        }\n    };\n}\n";
        let lines: Vec<usize> = uses(text)
            .unwrap()
            .into_iter()
            .map(|found| found.line)
            .collect();
        assert_eq!(lines, [3, 4]);
    }

    #[test]
    fn a_text_that_is_not_rust_is_refused() {
        assert!(uses("fn f( {").is_err());
    }
}
