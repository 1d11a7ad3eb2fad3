//! Frames by hand, as defmt's encoder writes them.

use super::table::{Table, Text};
use super::*;

fn table(texts: &[(u64, &str, &str)]) -> Table {
    let text = |&(index, tag, text): &(u64, &str, &str)| (index, Text { tag: tag.into(), text: text.into() });
    Table { texts: texts.iter().map(text).collect(), timestamp: None }
}

/// The line of one text with these arguments, its bytes behind the index.
fn line(text: &str, arguments: &[u8]) -> Option<String> {
    let inner =
        [(2, "defmt_derived", "A|B {{ x: {=u8} }}|C"), (3, "defmt_prim", "{=u8}"), (4, "defmt_str", "interned")];
    let mut table = table(&inner);
    table.texts.insert(1, Text { tag: "defmt_info".into(), text: text.into() });
    super::line(&table, &[&[1, 0], arguments].concat()).map(|line| line.text)
}

#[test]
fn every_type_is_read() {
    for (text, arguments, expected) in [
        ("plain {{}}", &[][..], "plain {}"),
        ("{=u8} {=u16} {=u32}", &[1, 2, 1, 3, 0, 1, 0], "1 258 65539"),
        ("{=i8} {=i16} {=i32} {=i64}", &[255, 254, 255, 253, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0], "-1 -2 -3 1"),
        ("{=usize} {=isize}", &[9, 0, 0, 0, 246, 255, 255, 255], "9 -10"),
        ("{=u128}", &[255; 16], "340282366920938463463374607431768211455"),
        ("{=f32} {=bool} {=char}", &[0, 0, 0xc0, 0x3f, 1, 0xe4, 0, 0, 0], "1.5 true ä"),
        ("{=str}|{=str:?}", &[2, 0, 0, 0, b'h', b'i', 1, 0, 0, 0, b'"'], "hi|\"\\\"\""),
        ("{=istr}", &[4, 0], "interned"),
        ("{=[u8]} {=[u8;2]:#04x}", &[1, 0, 0, 0, 7, 1, 16], "[7] [0x01, 0x10]"),
        ("{=[u8;6]:a}", b"a\n\"\\~\x7f", "b\"a\\n\\\"\\\\~\\x7f\""),
        ("{=?}, {}", &[2, 0, 1, 5, 2, 0, 2], "B { x: 5 }, C"),
        ("{=[?]} {=[?;2]}", &[1, 0, 0, 0, 2, 0, 0, 3, 0, 8, 9], "[A] [8, 9]"),
        ("{=[?]:a}", &[2, 0, 0, 0, 3, 0, b'h', b'i'], "b\"hi\""),
        ("{=__internal_Display} {=__internal_Debug}", b"one\xfftwo\xff", "one two"),
        ("{=__internal_FormatSequence}", &[3, 0, 1, 3, 0, 2, 0, 0], "12"),
        ("{0=4..8} {0=0..3:#b} {1=u8}", &[0b1010_0101, 7], "10 0b101 7"),
        ("{1=u8} {0=u8}", &[1, 2], "2 1"),
    ] {
        assert_eq!(line(text, arguments).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn hints_are_followed() {
    for (text, arguments, expected) in [
        ("{=u32:08x} {=u32:#010x} {=u8:X}", &[0xef, 0xbe, 0, 0, 1, 0, 0, 0, 0xab][..], "0000beef 0x00000001 AB"),
        ("{=i8:x} {=i16:#x}", &[0xff, 0xfe, 0xff], "ff 0xfffe"),
        ("{=u8:04} {=u8:#o}", &[7, 8], "0007 0o10"),
        ("{=u32:us} {=u32:ms}", &[0x80, 0x84, 0x1e, 0, 0xe9, 3, 0, 0], "2.000000 1.001"),
        ("{=u32:ts}", &[0x8d, 0x5f, 1, 0], "1:00:59:57"),
        ("{:x}", &[3, 0, 255], "ff"),
    ] {
        assert_eq!(line(text, arguments).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn damaged_frames_are_damaged_lines() {
    for (text, arguments) in [
        ("{=u32}", &[1, 2, 3][..]),
        ("{=bool}", &[2]),
        ("{=str}", &[255, 255, 255, 255]),
        ("{=char}", &[0, 0, 0xd8, 0]),
        ("{=?}", &[9, 0]),
        ("{=?}", &[2, 0, 3]),
        ("{=[?]}", &[255, 255, 255, 255, 2, 0]),
        ("{=__internal_Display}", b"no end"),
        // A text that names itself.
        ("{=?}", &[1, 0].repeat(5000)),
    ] {
        assert_eq!(line(text, arguments), None, "{text} {arguments:?}");
    }
    // A text that stands within a line only, and one that nobody has.
    let table = table(&[(1, "defmt_write", "inner")]);
    assert_eq!(
        (super::line(&table, &[1, 0]), super::line(&table, &[7, 0]), super::line(&table, &[])),
        (None, None, None)
    );
}

#[test]
fn a_timestamp_is_read_and_left_out() {
    let mut table = table(&[(1, "defmt_warn", "{=u8}")]);
    table.timestamp = Some("{=u32:us}".into());
    let line = super::line(&table, &[1, 0, 0, 0, 0, 0, 5]).unwrap();
    assert_eq!((line.level, line.text.as_str()), (Level::Warn, "5"));
}

#[test]
fn the_encoding_is_undone() {
    // Zeros are left out: a bit of the last byte says where they were.
    assert_eq!(rzcobs(&[2, 0b0011_1111]), Some(vec![0, 0, 0, 0, 0, 0, 2]));
    let long: Vec<u8> = (1..=134).collect();
    assert_eq!(rzcobs(&[long.as_slice(), &[0xff]].concat()), Some(long.clone()));
    assert_eq!(rzcobs(&[&long[..7], &[0x80]].concat()), Some([&long[..7], &[0]].concat()));
    for damaged in [&[1, 2, 0x01][..], &[1, 0xff], &[1, 0x80]] {
        assert_eq!(rzcobs(damaged), None);
    }
}

#[test]
fn what_is_no_elf_with_texts_is_said() {
    assert!(decode(b"text", &[]).unwrap_err().starts_with("its log cannot be decoded: "));
}
