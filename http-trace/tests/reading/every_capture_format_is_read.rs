//! pcap and pcapng are read in every byte order and resolution, compressed or not.

use http_trace::capture::Problem;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use http_trace_testkit::files::*;

use crate::rows::*;

#[test]
fn classic_in_both_byte_orders_and_units() {
    for big_endian in [false, true] {
        for nanoseconds in [false, true] {
            let style = Style { big_endian, nanoseconds };
            let (rows, problems) = read_bytes(&style.pcap(100, 3));
            let fraction = if nanoseconds { 7 } else { 7000 };
            let expected: Vec<_> = (100..103).map(|s| s * 1_000_000_000 + fraction).collect();
            assert_eq!(times(&rows), expected);
            assert!(rows.iter().all(|row| row.1 == 1 && row.2 == "test" && row.4 == 55));
            assert!(problems.is_empty(), "{problems:?}");
        }
    }
}

#[test]
fn classic_oddities() {
    let data = frame(1, b"x");
    let len = data.len() as u32;
    // Version 2.2 swaps the lengths; 2.3 may or may not.
    for (minor, swapped) in [(2, true), (3, true), (3, false)] {
        let mut file = PLAIN.header(minor, 1);
        let mut record = PLAIN.record(1, 0, &data, len + 9);
        if swapped {
            let (a, b): ([u8; 4], [u8; 4]) =
                (record[8..12].try_into().unwrap(), record[12..16].try_into().unwrap());
            record[8..12].copy_from_slice(&b);
            record[12..16].copy_from_slice(&a);
        }
        file.extend(record);
        let (rows, problems) = read_bytes(&file);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((rows[0].3.len() as u32, rows[0].4), (len, len + 9), "2.{minor}");
    }
    // The modified format: eight more bytes in each record header.
    let mut file = PLAIN.header(4, 1);
    file[..4].copy_from_slice(&0xa1b2_cd34_u32.to_le_bytes());
    for i in 0..2 {
        let record = PLAIN.record(i, 0, &data, len);
        file.extend_from_slice(&record[..16]);
        file.extend_from_slice(&[9; 8]);
        file.extend_from_slice(&data);
    }
    let (rows, problems) = read_bytes(&file);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(
        rows.iter().map(|row| row.3.clone()).collect::<Vec<_>>(),
        [data.clone(), data.clone()]
    );
    // The upper bits of the link type announce a frame check sequence.
    let mut file = PLAIN.header(4, 1 | 0x2400_0000 | 0x1000_0000);
    file.extend(PLAIN.record(1, 0, &data, len));
    assert_eq!(read_bytes(&file).0[0].1, 1);
}

#[test]
fn odd_records_of_the_classic_format() {
    const DATE: u32 = 940_000_000;
    let data = frame(1, b"x");
    let len = data.len() as u32;
    // The offset of the damage is reported.
    let mut file = PLAIN.header(4, 1);
    file.extend(PLAIN.record(DATE, 0, &data, len));
    file.extend([0xff; 40]);
    let (rows, problems) = read_bytes(&file);
    assert_eq!(rows.len(), 1);
    assert!(rows[0].3 == data);
    let text = problems[0].to_string();
    assert!(text.contains("claims 4294967295 bytes"), "{text}");
    // Times of simulators, and fractions of more than a second.
    let mut file = PLAIN.header(4, 1);
    for i in 0..3 {
        file.extend(PLAIN.record(i, 2_000_000, &data, len));
    }
    let (rows, problems) = read_bytes(&file);
    assert_eq!((rows.len(), problems.len()), (3, 0));
    assert!(rows.iter().all(|row| row.3 == data));
}

#[test]
fn pcapng_with_several_interfaces_sections_and_clocks() {
    for big_endian in [false, true] {
        let style = Style { big_endian, nanoseconds: false };
        let other = Style { big_endian: !big_endian, nanoseconds: false };
        let data = frame(1, b"x");
        let len = data.len() as u32;
        let raw = &data[14..];
        let offset = if big_endian { 10i64.to_be_bytes() } else { 10i64.to_le_bytes() };
        let obsolete = [
            &style.u16(1)[..],
            &style.u16(3),
            &style.u32(0),
            &style.u32(5_000),
            &style.u32(raw.len() as u32),
            &style.u32(raw.len() as u32),
            raw,
        ]
        .concat();
        let file = [
            style.section(),
            style.interface(1, 0, &[(2, b"eth0")]),
            style.interface(101, 0, &[(2, b"tun0"), (9, &[3]), (14, &offset)]),
            style.interface(1, 60, &[(2, b"eth1"), (9, &[0x80 | 10])]),
            // Name resolution block: skipped.
            style.block(4, &[0; 400]),
            style.enhanced(0, 1_000_001, &data, len),
            style.enhanced(1, 2_000, raw, 1500),
            style.block(2, &obsolete),
            style.enhanced(2, 3 << 10 | 1 << 9, &data, len),
            // Interface statistics block.
            style.block(5, &[0; 12]),
            style.block(3, &[&style.u32(len)[..], &data].concat()),
            // A section in the other byte order with an unnamed interface.
            other.section(),
            other.interface(1, 0, &[(9, &[9])]),
            other.enhanced(0, 42, &data, len),
        ]
        .concat();
        let (rows, problems) = read_bytes(&file);
        assert!(problems.is_empty(), "{problems:?}");
        let brief: Vec<_> =
            rows.iter().map(|r| (r.0, r.1, r.2.as_str(), r.3.len() as u32, r.4)).collect();
        assert_eq!(
            brief,
            [
                (1_000_001_000, 1, "eth0", len, len),
                (12_000_000_000, 101, "tun0", len - 14, 1500),
                (15_000_000_000, 101, "tun0", len - 14, len - 14),
                (3_500_000_000, 1, "eth1", len, len),
                // A simple packet block: first interface, time of the previous packet.
                (3_500_000_000, 1, "eth0", len, len),
                (42, 1, "test", len, len),
            ]
        );
    }
}

#[test]
fn compressed_by_content_not_by_name() {
    let plain = PLAIN.pcap(5, 4);
    let (a, b) = plain.split_at(100);
    let zstd = |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest);
    let skippable = [&[0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(&plain)].concat();
    let expected = read_bytes(&plain).0;
    for (name, bytes) in [
        ("gzip", gzip(&plain)),
        ("gzip of several members", [gzip(a), gzip(b)].concat()),
        ("zstd", zstd(&plain)),
        ("zstd of several frames", [zstd(a), zstd(b)].concat()),
        ("zstd after a skippable frame", skippable),
    ] {
        let (rows, problems) = read_bytes(&bytes);
        assert!(problems.is_empty(), "{name}: {problems:?}");
        assert_eq!(rows, expected, "{name}");
    }
    // Truncated compressed stream: everything that can be decompressed is delivered.
    let many = PLAIN.pcap(0, 20_000);
    for (name, cut) in [("gzip", gzip(&many)), ("zstd", zstd(&many))] {
        let (rows, problems) = read_bytes(&cut[..cut.len() / 2]);
        let delivered = rows.len();
        assert!(delivered > 0 && delivered < 20_000, "{name}: {delivered}");
        assert!(matches!(problems[0].problem, Problem::Read { .. }), "{name}: {problems:?}");
    }
}
