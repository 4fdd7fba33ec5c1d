//! The eBPF object beside the sources, and whether it was built from these sources.
//!
//! Shared by the build script, which embeds it, and xtask, which creates it. Never builds or writes.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use sha1::{Digest, Sha1};

/// The gzip-compressed object, relative to the repository root.
pub const OBJECT: &str = "http-trace/build/http-trace.bpf.o.gz";

/// Inputs and tools of the object: lines of `name = "value"`.
pub const ORIGIN: &str = "http-trace/build/http-trace.bpf.toml";

/// Inputs of the object, relative to the repository root, in addition to locked dependencies.
const SOURCES: &[&str] = &[
    "http-trace-common/Cargo.toml", "http-trace-common/src", "http-trace-ebpf/Cargo.toml",
    "http-trace-ebpf/src", "http-trace/build/compile.rs",
];

/// The package whose dependencies in `Cargo.lock` are inputs of the object.
const PACKAGE: &str = "http-trace-ebpf";

/// The object, if it was built from these sources.
pub fn fitting(workspace: &Path) -> io::Result<Option<Vec<u8>>> {
    let origin = fs::read_to_string(workspace.join(ORIGIN)).unwrap_or_default();
    if named(&origin, "sources") != Some(&digest(workspace)?) {
        return Ok(None);
    }
    object(workspace).map(Some)
}

/// The object, whatever its inputs were.
pub fn object(workspace: &Path) -> io::Result<Vec<u8>> {
    let mut object = Vec::new();
    let file = fs::File::open(workspace.join(OBJECT))?;
    GzDecoder::new(file).read_to_end(&mut object)?;
    Ok(object)
}

/// The value of `name` in the text of [`ORIGIN`].
pub fn named<'a>(origin: &'a str, name: &str) -> Option<&'a str> {
    origin.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.trim_start().strip_prefix('=')?;
        value.trim().strip_prefix('"')?.strip_suffix('"')
    })
}

/// SHA-1 of the names and contents of all inputs and of the locked dependencies, in hexadecimal.
pub fn digest(workspace: &Path) -> io::Result<String> {
    let mut files = BTreeSet::new();
    for source in SOURCES {
        gather(workspace, Path::new(source), &mut files)?;
    }
    let mut hash = Sha1::new();
    let mut part = |name: &str, content: &[u8]| {
        hash.update(format!("{name} {}\n", content.len()));
        hash.update(content);
    };
    for file in files {
        let name = file.to_string_lossy().replace('\\', "/");
        part(&name, &fs::read(workspace.join(&file))?);
    }
    let lock = fs::read_to_string(workspace.join("Cargo.lock"))?;
    part("Cargo.lock", locked(&lock, PACKAGE).join("\n").as_bytes());
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// Collects the files at and below `path`, which is relative to `workspace`.
fn gather(workspace: &Path, path: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let full = workspace.join(path);
    if full.is_file() {
        files.insert(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(full)? {
        gather(workspace, &path.join(entry?.file_name()), files)?;
    }
    Ok(())
}

/// `name version checksum` of `package` and all of its dependencies, sorted. If several versions of a name
/// are locked, all count.
fn locked(lock: &str, package: &str) -> Vec<String> {
    let mut wanted = vec![package.to_owned()];
    let mut found = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        for block in lock.split("[[package]]\n") {
            if named(block, "name") != Some(&name) {
                continue;
            }
            let version = named(block, "version").unwrap_or_default();
            let checksum = named(block, "checksum").unwrap_or_default();
            if found.insert(format!("{name} {version} {checksum}")) {
                // `"name"`, or `"name version"` if several versions of it are locked.
                let listed = block.split_once("dependencies = [").map_or("", |(_, rest)| rest);
                let words = listed.lines().filter_map(|line| {
                    let quoted = line.trim().strip_prefix('"')?;
                    quoted.split(['"', ' ']).next()
                });
                wanted.extend(words.map(str::to_owned));
            }
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{locked, named};

    #[test]
    fn only_what_the_programs_depend_on_counts() {
        let lock = r#"version = 4

[[package]]
name = "a"
version = "1.0.0"
checksum = "aa"
dependencies = [
 "b",
 "c 2.0.0",
]

[[package]]
name = "b"
version = "0.1.0"

[[package]]
name = "c"
version = "2.0.0"
checksum = "cc"
dependencies = [
 "a",
]

[[package]]
name = "elsewhere"
version = "1.0.0"
dependencies = [
 "a",
]
"#;
        assert_eq!(locked(lock, "a"), ["a 1.0.0 aa", "b 0.1.0 ", "c 2.0.0 cc"]);
        assert_eq!(locked(lock, "b"), ["b 0.1.0 "]);
    }

    #[test]
    fn a_name_is_read_as_a_whole() {
        let origin = "sources = \"1f\"\nlinker=\"l 1\"\n";
        assert_eq!(named(origin, "sources"), Some("1f"));
        assert_eq!(named(origin, "linker"), Some("l 1"));
        assert_eq!(named(origin, "source"), None);
    }
}
