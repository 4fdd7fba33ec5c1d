//! Cost budgets of `tests/budget.toml`, and what a program costs under callgrind.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::need::program;

/// `tests/budget.toml`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    pub exchange: Costs,
    pub browser_exchange: Costs,
    pub kernel: Kernel,
}

/// Cost of a piece of work.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Instructions of the whole program.
    pub instructions: f64,
    /// Calls of the memory allocator.
    pub allocations: f64,
}

/// Limits of the kernel programs.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Instructions that the verifier processes for the program at TC.
    pub verified_instructions: f64,
    /// Size of the object, unpacked.
    pub object_bytes: f64,
}

impl Budget {
    /// Reads the file.
    pub fn read() -> Result<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("budget.toml");
        let text = std::fs::read_to_string(&file).context("tests/budget.toml")?;
        toml::from_str(&text).context("tests/budget.toml")
    }

    /// Checks a figure against its budget, with a tolerance of one twentieth; prints both.
    pub fn check(what: &str, is: f64, allowed: f64) {
        println!("{what}: {is:.1}, of {allowed:.1} allowed");
        assert!(
            is <= allowed * 1.05,
            "{what}: {is:.1} instead of {allowed:.1}. Where that is worth it, change tests/budget.toml and say \
             why in the commit"
        );
    }
}

impl Costs {
    /// Cost of this command.
    pub fn of(command: &Command) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("out");
        let mut valgrind = Command::new(program("valgrind").context("valgrind")?);
        let ran = valgrind
            .args(["--tool=callgrind", "--compress-strings=no"])
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(command.get_program())
            .args(command.get_args())
            .output()?;
        let said = String::from_utf8_lossy(&ran.stderr);
        ensure!(ran.status.success(), "{command:?}: {said}");
        Ok(Self::parse(&std::fs::read_to_string(out)?))
    }

    /// Parses callgrind output (valgrind.org/docs/manual/cl-format.html).
    fn parse(text: &str) -> Self {
        const ALLOCATE: [&str; 5] =
            ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];
        let (mut instructions, mut allocations) = (0.0, 0.0);
        let mut called = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("cfn=") {
                called = name;
            } else if let Some(calls) = line.strip_prefix("calls=") {
                let count = calls.split(' ').next().and_then(|count| count.parse::<f64>().ok());
                if ALLOCATE.contains(&called) {
                    allocations += count.unwrap_or(0.0);
                }
            } else if let Some(sum) = line.strip_prefix("totals: ") {
                instructions = sum.trim().parse().unwrap_or(0.0);
            }
        }
        Costs { instructions, allocations }
    }
}

impl std::ops::Sub for Costs {
    type Output = Costs;

    fn sub(self, other: Costs) -> Costs {
        Costs {
            instructions: self.instructions - other.instructions,
            allocations: self.allocations - other.allocations,
        }
    }
}
