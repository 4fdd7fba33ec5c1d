//! Checks tidy on small made-up crates and on this repository.

use std::{collections::HashMap, path::Path};

use super::{
    check::check,
    finding::Finding,
    lines::{self, Lines},
    long,
    modules::Crate,
    texts, tree,
    unused::{Package, unused},
};

fn load(files: &[(&str, &str)]) -> Crate {
    let files: HashMap<&str, &str> = files.iter().copied().collect();
    let read = |path: &Path| files.get(path.to_str()?).map(|text| (*text).to_owned());
    Crate::load(Path::new("src/lib.rs"), &read).expect("a crate")
}

fn told(found: &[Finding]) -> String {
    found.iter().map(|finding| format!("{finding}\n")).collect()
}

fn findings(files: &[(&str, &str)]) -> String {
    told(&check(&load(files)))
}

const HEAD: &str = "//! # Layout\n//! - [`a`] one; [`b`] two.\n//! - [`c`] three, [`d`] four.\n";

/// A ring of files: each imports the next, in one of four ways.
fn ring(count: usize) -> Vec<(&'static str, &'static str)> {
    let all = [
        ("src/a/one.rs", "use super::two::Two; pub struct One(Two);"),
        ("src/a/two.rs", "pub struct Two(Option<Box<crate::a::three::Three>>);"),
        ("src/a/three.rs", "use crate::a::{self, four}; pub struct Three(a::four::Four);"),
        ("src/a/four.rs", "pub struct Four; fn f() { println!(\"{}\", super::one::One::NAME); }"),
    ];
    let mut files = vec![
        ("src/lib.rs", "//! # Layout\n//! - [`a`]\nmod a;"),
        ("src/a.rs", "mod one; mod two; mod three; mod four; pub(crate) use one::One;"),
    ];
    files.extend(all.into_iter().take(count));
    for (path, _) in all.into_iter().skip(count) {
        files.push((path, ""));
    }
    files
}

#[test]
fn a_cycle_of_four_is_found_and_one_of_three_is_allowed() {
    let found = findings(&ring(4));
    assert!(found.contains("4 files import one another in a loop"), "{found}");
    assert!(found.contains("src/a/four.rs:1 imports src/a/one.rs (One)"), "{found}");
    assert!(found.contains("src/a/one.rs:1 imports src/a/two.rs (Two)"), "{found}");
    let mut three = ring(3);
    for file in &mut three {
        if file.0 == "src/a/three.rs" {
            file.1 = "pub struct Three; fn f(_: super::one::One) {}";
        }
    }
    assert_eq!(findings(&three), "");
}

#[test]
fn what_a_module_hands_on_is_imported_from_it() {
    let root = ("src/lib.rs", "//! # Layout\n//! - [`a`]\nmod a;");
    let children = [
        ("src/a/one.rs", "use super::two::Two; pub struct One(Two);"),
        ("src/a/two.rs", "pub struct Two;"),
        ("src/a/three.rs", "use super::{one::One, two::*}; pub struct Three(One, Two);"),
        ("src/a/four.rs", "pub struct Four(super::one::One, crate::a::three::Three);"),
    ];
    // A facade that only re-exports, and children that bypass it.
    let face = "mod one; mod two; mod three; mod four;
         pub use one::*; pub use self::{two::Two as Second, three::Three}; pub(crate) use four::Four;";
    let mut files = vec![root, ("src/a.rs", face)];
    files.extend(children);
    assert_eq!(findings(&files), "");
    // Each child imports through the facade.
    for (file, code) in [
        (2, "pub struct One(super::Second);"),
        (3, "use super::*; pub struct Two(Box<Three>);"),
        (4, "pub struct Three(crate::a::Four);"),
        (5, "use super::One; pub struct Four;"),
    ] {
        files[file].1 = code;
    }
    let found = findings(&files);
    assert!(found.contains("5 files import"), "{found}");
    for import in ["one.rs:1 imports src/a.rs (Second)", "four.rs:1 imports src/a.rs (One)"] {
        assert!(found.contains(import), "{found}");
    }
}

#[test]
fn an_import_against_the_layout_is_found() {
    let root = format!("{HEAD}pub mod a; pub mod b; pub mod c; pub mod d; pub use c::C as OfRoot;");
    let table = [
        ("use crate::c::C;", true),
        ("use super::{c::{self, C as Other}};", true),
        ("fn f() { crate::c::make() }", true),
        ("fn f() { use crate::c::*; make() }", true),
        ("fn f() { let _ = vec![crate::c::C]; }", true),
        ("#[derive(serde::Serialize)] struct S { #[serde(with = \"crate::c\")] _s: u8 }", false),
        (
            "#[derive(serde::Serialize)] struct S { #[serde(default = \"crate::c::make\")] _s: u8 }",
            true,
        ),
        ("impl crate::c::T for u8 {}", true),
        ("mod inner { use super::super::c::C; }", true),
        ("use crate::d::FromC;", true),
        ("use crate::OfRoot;", true),
        ("use crate::c as other; fn f() { other::make() }", true),
        ("use crate::*; fn f() { c::make() }", true),
        ("use crate::b::B;", true),
        ("use crate::a::A;", false),
        ("mod c { pub struct C; } use self::c::C;", false),
        ("pub(in crate::a) struct S;", false),
        ("#[cfg(test)] mod tests { use crate::c::C; }", false),
        ("#[cfg(test)] use crate::c::C;", false),
        ("#[cfg(any(test, feature = \"testing\"))] use crate::c::C;", false),
        ("#[cfg(any(test, unix))] use crate::c::C;", true),
        ("#[test] fn f() { crate::c::make() }", false),
        ("use std::c::C; use ::c::C as D;", false),
        ("/// [`crate::c::C`]\nstruct S;", false),
    ];
    for (code, is_found) in table {
        let code = format!("{code}\npub struct A;");
        let found = findings(&[
            ("src/lib.rs", &root),
            ("src/a.rs", &code),
            ("src/b.rs", "pub struct B;"),
            ("src/c.rs", "pub struct C; pub trait T {} pub fn make() {}"),
            ("src/d.rs", "pub use crate::c::C as FromC;"),
        ]);
        assert_eq!(found.contains("src/a.rs:1: `a` imports `"), is_found, "{code}\n{found}");
        assert_eq!(!found.is_empty(), is_found, "{code}\n{found}");
    }
}

#[test]
fn a_module_that_the_layout_does_not_name_is_found() {
    let root = format!("{HEAD}mod a; mod b; mod c; mod d; mod e; #[cfg(test)] mod f;");
    let mut files: Vec<_> =
        ["a", "b", "c", "d", "e", "f"].map(|name| format!("src/{name}.rs")).into();
    files.sort();
    let mut all: Vec<(&str, &str)> = files.iter().map(|file| (file.as_str(), "")).collect();
    all.push(("src/lib.rs", &root));
    let found = findings(&all);
    assert!(found.contains("`e` is not in the `# Layout` list"), "{found}");
    assert_eq!(found.lines().count(), 1, "{found}");
    all.pop();
    all.push(("src/lib.rs", "mod a; mod b;"));
    assert!(findings(&all).contains("no `# Layout` list"));
}

#[test]
fn a_file_of_601_lines_is_found() {
    let text = "x\n".repeat(600);
    let path = Path::new("tests/tests/x.rs");
    assert!(long(path, &text).is_none());
    let text = "x\n".repeat(601);
    let found = long(path, &text).expect("a finding");
    assert!(found.to_string().starts_with("tests/tests/x.rs:601: 601 lines, 600"), "{found}");
    assert!(long(Path::new("a.md"), &text).is_none());
}

#[test]
fn words_of_one_machine_and_of_unfinished_work_are_found() {
    let text = ["fine", &["/wo", "rk/x"].concat(), &["// TO", "DO: later"].concat()].join("\n");
    let found = told(&texts::words(Path::new("a.rs"), &text));
    assert!(found.contains("a.rs:2: ") && found.contains("a.rs:3: "), "{found}");
    assert_eq!(found.lines().count(), 2, "{found}");
}

#[test]
fn lines_without_tests_are_counted_by_module() {
    let of = load(&[
        ("src/lib.rs", "//! x\nmod a;\n#[cfg(test)]\nmod testing;\n"),
        (
            "src/a/mod.rs",
            "mod b;\nfn f() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn g() {}\n}\n",
        ),
        ("src/a/b.rs", "fn f() {}\n#[cfg(test)]\nmod tests;\n"),
        ("src/a/b/tests.rs", "fn f() {}\n"),
        ("src/testing.rs", "fn f() {}\n"),
    ]);
    let mut lines = Lines::new();
    lines::count(&of, &mut lines);
    let lines: Vec<_> = lines.into_iter().collect();
    assert_eq!(lines, [(String::new(), 4), ("a".to_owned(), 5)]);
}

#[test]
fn a_dependency_that_no_source_names_is_found() {
    let package = Package {
        name: "x".to_owned(),
        dependencies: ["http-a", "b", "c", "d"].map(str::to_owned).into(),
    };
    let sources = ["use http_a::X; use my_b::Y;", "use {std::io, c as other}; extern crate d;"];
    let sources = sources.map(str::to_owned);
    let found = told(&unused(&package, Path::new("x/Cargo.toml"), &sources));
    assert_eq!(found, "x/Cargo.toml:1: no source of `x` names `b`: remove the dependency\n");
}

#[test]
fn this_repository_is_in_order() {
    let found = tree().expect("sources");
    assert!(found.is_empty(), "run `cargo xtask tidy`:\n{}", told(&found));
}
