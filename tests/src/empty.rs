//! An eBPF object whose only program returns at once: the base cost of a run.

/// The program's name in [`object()`].
pub const NAME: &str = "empty";

/// `r0 = -1; exit`: `TC_ACT_UNSPEC`, as our programs at TC return.
const CODE: [u8; 16] = [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0];

const HEADER_LEN: usize = 64;

/// The object: 64-bit little-endian ELF (`man 5 elf`) with the sections that loaders look for.
pub fn object() -> Vec<u8> {
    const PROGBITS: u32 = 1;
    const SYMTAB: u32 = 2;
    const STRTAB: u32 = 3;
    let names = b"\0classifier\0license\0.symtab\0.strtab\0";
    let strings = [b"\0", NAME.as_bytes(), b"\0"].concat();
    // The null symbol, then a global function in section 1: name, info, other, section, value, size.
    let mut symbols = vec![0; 24];
    symbols.extend(1u32.to_le_bytes());
    symbols.extend([0x12, 0, 1, 0]);
    symbols.extend(0u64.to_le_bytes());
    symbols.extend((CODE.len() as u64).to_le_bytes());
    // Name offset, type, flags, content, link, info, alignment, entry size.
    type Section<'a> = (u32, u32, u64, &'a [u8], u32, u32, u64, u64);
    let sections: [Section<'_>; 6] = [
        (0, 0, 0, b"", 0, 0, 0, 0),
        (1, PROGBITS, 6, &CODE, 0, 0, 8, 0),
        (12, PROGBITS, 3, b"GPL\0", 0, 0, 1, 0),
        (20, SYMTAB, 0, &symbols, 4, 1, 8, 24),
        (28, STRTAB, 0, &strings, 0, 0, 1, 0),
        (28, STRTAB, 0, names, 0, 0, 1, 0),
    ];
    let mut content = Vec::new();
    let mut table = Vec::new();
    for (name, kind, flags, bytes, link, info, alignment, entry) in sections {
        while content.len() % 8 != 0 {
            content.push(0);
        }
        let offset = HEADER_LEN + content.len();
        content.extend(bytes);
        table.extend([name, kind].into_iter().flat_map(u32::to_le_bytes));
        let words = [flags, 0, offset as u64, bytes.len() as u64];
        table.extend(words.into_iter().flat_map(u64::to_le_bytes));
        table.extend([link, info].into_iter().flat_map(u32::to_le_bytes));
        table.extend([alignment, entry].into_iter().flat_map(u64::to_le_bytes));
    }
    while content.len() % 8 != 0 {
        content.push(0);
    }
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // Relocatable, EM_BPF, version 1.
    elf.extend([1, 0, 247, 0, 1, 0, 0, 0]);
    let table_at = (HEADER_LEN + content.len()) as u64;
    elf.extend([0, 0, table_at].into_iter().flat_map(u64::to_le_bytes));
    elf.extend(0u32.to_le_bytes());
    let sizes = [HEADER_LEN as u16, 0, 0, 64, sections.len() as u16, 5];
    elf.extend(sizes.into_iter().flat_map(u16::to_le_bytes));
    elf.extend(content);
    elf.extend(table);
    elf
}
