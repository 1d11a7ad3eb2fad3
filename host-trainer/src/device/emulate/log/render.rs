//! Prints a text with its arguments as defmt's own tools do. Dates, CBOR and the names of bit flags are printed as numbers.

use std::fmt::Write;

use defmt_parser::{DisplayHint, Fragment, ParserMode, TimePrecision, Type};

use super::frame::Argument;

/// The widest that a number is padded to.
const WIDEST: usize = 128;

/// A text with its arguments in place.
pub(super) fn text(text: &str, arguments: &[Argument]) -> Option<String> {
    let mut line = String::new();
    format(text, arguments, None, &mut line).map(|()| line)
}

fn format(text: &str, arguments: &[Argument], outer: Option<&DisplayHint>, to: &mut String) -> Option<()> {
    for fragment in defmt_parser::parse(text, ParserMode::ForwardsCompatible).ok()? {
        match fragment {
            Fragment::Literal(literal) => to.push_str(&literal),
            Fragment::Parameter(parameter) => {
                let own = parameter.hint.as_ref();
                // Within `{:a}` bytes are letters however deep they stand, and `{=u8:?}` leaves a number to what is around it.
                let hint = match (own, outer, arguments.get(parameter.index)?) {
                    (_, Some(DisplayHint::Ascii), Argument::Format(..)) => outer,
                    (Some(DisplayHint::Debug), _, Argument::Unsigned(_)) => outer,
                    _ => own.or(outer),
                };
                argument(&arguments[parameter.index], &parameter.ty, hint, to)?;
            }
        }
    }
    Some(())
}

fn argument(argument: &Argument, of: &Type, hint: Option<&DisplayHint>, to: &mut String) -> Option<()> {
    let debug = matches!(hint, Some(DisplayHint::Debug));
    match argument {
        Argument::Unsigned(bits) => match of {
            Type::BitField(range) => {
                let above = 128 - u32::from(range.end);
                let field = bits << above >> (above + u32::from(range.start));
                match hint {
                    Some(DisplayHint::Ascii) => {
                        let count = usize::from(range.end - range.start).div_ceil(8);
                        bytes(&field.to_be_bytes()[16 - count..], hint, to);
                    }
                    _ => unsigned(field, hint, to),
                }
            }
            _ => unsigned(*bits, hint, to),
        },
        Argument::Signed(value) => signed(*value, of, hint, to),
        Argument::Plain(text) => to.push_str(text),
        Argument::Text(text) if debug => to.push_str(&format!("{text:?}")),
        Argument::Text(text) => to.push_str(text),
        Argument::Bytes(all) => bytes(all, hint, to),
        Argument::Format(text, arguments) => format(text, arguments, hint, to)?,
        Argument::Sequence(pieces) => {
            for piece in pieces {
                self::argument(piece, of, hint, to)?;
            }
        }
        Argument::Slice(elements) => match (hint, letters(elements)) {
            (Some(DisplayHint::Ascii), Some(all)) if !all.is_empty() => bytes(&all, hint, to),
            _ => {
                to.push('[');
                for (index, element) in elements.iter().enumerate() {
                    to.push_str(if index > 0 { ", " } else { "" });
                    self::argument(element, of, hint, to)?;
                }
                to.push(']');
            }
        },
    }
    Some(())
}

/// The elements of a slice, where they are bytes.
fn letters(elements: &[Argument]) -> Option<Vec<u8>> {
    let byte = |element: &Argument| match element {
        Argument::Format("{=u8}", arguments) => match arguments[..] {
            [Argument::Unsigned(byte)] => u8::try_from(byte).ok(),
            _ => None,
        },
        _ => None,
    };
    elements.iter().map(byte).collect()
}

fn unsigned(x: u128, hint: Option<&DisplayHint>, to: &mut String) {
    let (precision, clock) = match hint {
        Some(DisplayHint::Seconds(precision)) => (precision, false),
        Some(DisplayHint::Time(precision)) => (precision, true),
        _ => return to.push_str(&digits(x, hint)),
    };
    let (a_second, places) = match precision {
        TimePrecision::Micros => (1_000_000, 6),
        TimePrecision::Millis => (1_000, 3),
        TimePrecision::Seconds => (1, 0),
    };
    let (whole, part) = (x / a_second, x % a_second);
    if clock {
        let days = whole / 86_400;
        if days > 0 {
            to.push_str(&format!("{days}:"));
        }
        to.push_str(&format!("{:02}:{:02}:{:02}", whole / 3600 % 24, whole / 60 % 60, whole % 60));
    } else {
        to.push_str(&whole.to_string());
    }
    if places > 0 {
        to.push_str(&format!(".{part:0places$}"));
    }
}

fn signed(x: i128, of: &Type, hint: Option<&DisplayHint>, to: &mut String) {
    let bits = match of {
        Type::I8 => 8,
        Type::I16 => 16,
        Type::I32 | Type::Isize => 32,
        Type::I64 => 64,
        _ => 128,
    };
    match hint {
        Some(DisplayHint::NoHint { zero_pad }) => to.push_str(&format!("{x:0pad$}", pad = (*zero_pad).min(WIDEST))),
        // Only hexadecimal digits are those of the type's width.
        Some(DisplayHint::Hexadecimal { .. }) => to.push_str(&digits(x as u128 & (u128::MAX >> (128 - bits)), hint)),
        Some(DisplayHint::Binary { .. } | DisplayHint::Octal { .. }) => to.push_str(&digits(x as u128, hint)),
        _ => to.push_str(&x.to_string()),
    }
}

fn digits(x: u128, hint: Option<&DisplayHint>) -> String {
    match hint {
        Some(DisplayHint::NoHint { zero_pad }) => format!("{x:0pad$}", pad = (*zero_pad).min(WIDEST)),
        Some(&DisplayHint::Binary { alternate, zero_pad }) => {
            let pad = zero_pad.min(WIDEST);
            if alternate { format!("{x:#0pad$b}") } else { format!("{x:0pad$b}") }
        }
        Some(&DisplayHint::Octal { alternate, zero_pad }) => {
            let pad = zero_pad.min(WIDEST);
            if alternate { format!("{x:#0pad$o}") } else { format!("{x:0pad$o}") }
        }
        Some(&DisplayHint::Hexadecimal { alternate, uppercase, zero_pad }) => {
            let pad = zero_pad.min(WIDEST);
            match (alternate, uppercase) {
                (false, false) => format!("{x:0pad$x}"),
                (false, true) => format!("{x:0pad$X}"),
                (true, false) => format!("{x:#0pad$x}"),
                (true, true) => format!("{x:#0pad$X}"),
            }
        }
        _ => x.to_string(),
    }
}

fn bytes(bytes: &[u8], hint: Option<&DisplayHint>, to: &mut String) {
    match hint {
        Some(DisplayHint::Ascii) => {
            to.push_str("b\"");
            for &byte in bytes {
                match byte {
                    b'"' | b'\\' => to.extend(['\\', byte.into()]),
                    b'\t' => to.push_str("\\t"),
                    b'\n' => to.push_str("\\n"),
                    b'\r' => to.push_str("\\r"),
                    b' '..=b'~' => to.push(byte.into()),
                    _ => to.push_str(&format!("\\x{byte:02x}")),
                }
            }
            to.push('"');
        }
        Some(DisplayHint::Hexadecimal { .. } | DisplayHint::Octal { .. } | DisplayHint::Binary { .. }) => {
            let all: Vec<_> = bytes.iter().map(|&byte| digits(byte.into(), hint)).collect();
            to.push_str(&format!("[{}]", all.join(", ")));
        }
        _ => write!(to, "{bytes:?}").expect("a String takes everything"),
    }
}
