//! `cargo xtask ebpf`: writes or checks the checked-in eBPF object.
//!
//! The object is compiled from its sources, stripped to what the loader needs, and compressed, so that
//! building the agent takes cargo alone. Run this after a change of a program, and commit what it writes.

use std::{env, fs, io::Write as _, path::Path, process::Command};

use anyhow::{Context, Result, anyhow, bail};
use flate2::{Compression, GzBuilder};
use object::{build::elf::Builder, build::elf::SectionData, elf};

use crate::{
    command::{target_folder, tools, workspace},
    compile::compile,
    setup::{self, Purpose},
    shipped::{self, OBJECT, ORIGIN},
    toolchain::{Toolchain, find_linker},
};

/// Advice in errors about an outdated object.
const HOW: &str = "run `cargo xtask ebpf` and commit what it writes";

/// An object and what built it: another compiler or linker gives other bytes.
struct Built {
    object: Vec<u8>,
    compiler: String,
    linker: String,
}

/// Compiles the object and writes it to its place among the sources.
pub fn write() -> Result<()> {
    let built = build()?;
    let mut file = GzBuilder::new().write(Vec::new(), Compression::best());
    file.write_all(&built.object)?;
    let file = file.finish()?;
    let origin = format!(
        "# What http-trace.bpf.o.gz was built from and with, by `cargo xtask ebpf`.\n\
         sources = \"{}\"\ncompiler = \"{}\"\nlinker = \"{}\"\n",
        shipped::digest(workspace())?,
        built.compiler,
        built.linker,
    );
    fs::write(workspace().join(OBJECT), &file).context(OBJECT)?;
    fs::write(workspace().join(ORIGIN), origin).context(ORIGIN)?;
    eprintln!("xtask: {OBJECT}: {} bytes, {} when unpacked", file.len(), built.object.len());
    Ok(())
}

/// `cargo xtask ebpf --check`.
pub fn report() -> Result<()> {
    match check()? {
        None => eprintln!("xtask: {OBJECT} is what its sources give"),
        Some(needs) => bail!("{OBJECT} can only be compared with {needs}"),
    }
    Ok(())
}

/// Compiles the object and fails unless the one beside the sources is the same, byte for byte.
/// Returns which compiler and linker it takes to compare, if these are others.
pub fn check() -> Result<Option<String>> {
    let built = build()?;
    let origin = fs::read_to_string(workspace().join(ORIGIN)).context(ORIGIN)?;
    let recorded = |name| shipped::named(&origin, name).unwrap_or_default();
    if recorded("sources") != shipped::digest(workspace())? {
        bail!("{OBJECT} was built from other sources: {HOW}");
    }
    let (compiler, linker) = (recorded("compiler"), recorded("linker"));
    if (compiler, linker) != (&built.compiler, &built.linker) {
        return Ok(Some(format!(
            "{compiler} and {linker}; here are {} and {}",
            built.compiler, built.linker
        )));
    }
    if shipped::object(workspace()).context(OBJECT)? != built.object {
        bail!("{OBJECT} is not what its sources give: {HOW}");
    }
    Ok(None)
}

fn build() -> Result<Built> {
    setup::ensure(&[Purpose::Ebpf])?;
    let rustc = setup::running_rustc();
    let running_cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let toolchain = Toolchain::find(&rustc, running_cargo.as_ref(), setup::pinned_nightly())
        .context("no compiler for BPF")?;
    let linker = find_linker(&tools()).context("no bpf-linker")?;
    let target = target_folder().join("bpf");
    let object = compile(workspace(), &target, &rustc, &toolchain, &linker)
        .map_err(|error| anyhow!("{error}"))?;
    let object = fs::read(&object).with_context(|| object.display().to_string())?;
    Ok(Built {
        object: strip(&object)?,
        compiler: version(&toolchain.rustc, "-V")?,
        linker: version(&linker, "--version")?,
    })
}

/// First line of a program's version output.
fn version(program: &Path, option: &str) -> Result<String> {
    let output = Command::new(program)
        .arg(option)
        .output()
        .with_context(|| format!("{} does not start", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).replace('"', "'");
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Removes debug sections, source lines, and relocations that the loader computes by itself.
fn strip(object: &[u8]) -> Result<Vec<u8>> {
    let mut elf = Builder::read(object)?;
    for section in &mut elf.sections {
        let name = section.name.to_string();
        let is_relocation = section.sh_type == elf::SHT_REL;
        section.delete = name.starts_with(".debug_")
            || is_relocation && (name.starts_with(".rel.debug_") || name.starts_with(".rel.BTF"));
        if name == ".BTF.ext"
            && let SectionData::Data(data) = &mut section.data
        {
            *data = without_lines(data).context(".BTF.ext is too short")?.into();
        }
    }
    elf.delete_orphans();
    // The linker keeps section names in the symbol string table, which this writer does not support.
    let names = elf.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    elf.set_section_sizes();
    let mut stripped = Vec::new();
    elf.write(&mut stripped)?;
    Ok(stripped)
}

/// A `.BTF.ext` section without line information. Its header has offset and length of each part: functions,
/// lines, relocations (`struct btf_ext_header`, tools/lib/bpf/btf.c of the kernel).
fn without_lines(section: &[u8]) -> Option<Vec<u8>> {
    const HEADER_LEN: usize = 4;
    const LINES_OFFSET: usize = 16;
    const LINES_LEN: usize = 20;
    const RELOCATIONS_OFFSET: usize = 24;
    let word = |at: usize| -> Option<usize> {
        let bytes = section.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let header_len = word(HEADER_LEN)?;
    let (offset, len) = (word(LINES_OFFSET)?, word(LINES_LEN)?);
    let lines = header_len.checked_add(offset)?;
    let mut stripped = section.get(..lines)?.to_vec();
    stripped.extend_from_slice(section.get(lines.checked_add(len)?..)?);
    stripped.get_mut(LINES_LEN..LINES_LEN + 4)?.fill(0);
    if header_len > RELOCATIONS_OFFSET {
        let moved = u32::try_from(word(RELOCATIONS_OFFSET)?.checked_sub(len)?).ok()?;
        stripped
            .get_mut(RELOCATIONS_OFFSET..RELOCATIONS_OFFSET + 4)?
            .copy_from_slice(&moved.to_le_bytes());
    }
    Some(stripped)
}
