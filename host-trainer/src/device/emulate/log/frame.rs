//! Reads a frame's arguments, as the format string of its index types them.

use defmt_parser::{Fragment, Parameter, ParserMode, Type};

use super::table::Table;

/// How deep texts may stand in texts. A damaged frame may name itself.
const DEEPEST: usize = 32;
/// The most elements of a slice. Elements may take no bytes at all, so that a frame's length bounds nothing.
const MOST: usize = 1 << 16;

/// An argument.
#[derive(Debug)]
pub(super) enum Argument<'t> {
    Unsigned(u128),
    Signed(i128),
    /// What has one way to be printed.
    Plain(String),
    Text(String),
    Bytes(Vec<u8>),
    /// A value that has a text of its own.
    Format(&'t str, Vec<Self>),
    /// Elements of a slice, between brackets.
    Slice(Vec<Self>),
    /// Pieces of one value, in a row.
    Sequence(Vec<Self>),
}

/// What is left of a frame.
pub(super) struct Frame<'t, 'b> {
    table: &'t Table,
    bytes: &'b [u8],
    depth: usize,
}

/// Reads a little-endian number.
macro_rules! number {
    ($frame:expr, $type:ty) => {
        <$type>::from_le_bytes(*$frame.take(size_of::<$type>())?.as_array()?)
    };
}

impl<'t, 'b> Frame<'t, 'b> {
    pub(super) fn new(table: &'t Table, bytes: &'b [u8]) -> Self {
        Self { table, bytes, depth: 0 }
    }

    /// The index of a text.
    pub(super) fn index(&mut self) -> Option<u64> {
        Some(number!(self, u16).into())
    }

    /// Reads the arguments of a text, in the order of their numbers.
    pub(super) fn arguments(&mut self, text: &str) -> Option<Vec<Argument<'t>>> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let arguments = parameters(text)?.iter().map(|parameter| self.argument(&parameter.ty)).collect();
        self.depth -= 1;
        arguments
    }

    fn argument(&mut self, of: &Type) -> Option<Argument<'t>> {
        use Argument::{Plain, Sequence, Signed, Text, Unsigned};
        Some(match of {
            Type::U8 => Unsigned(number!(self, u8).into()),
            Type::U16 => Unsigned(number!(self, u16).into()),
            Type::U32 | Type::Usize => Unsigned(number!(self, u32).into()),
            Type::U64 => Unsigned(number!(self, u64).into()),
            Type::U128 => Unsigned(number!(self, u128)),
            Type::I8 => Signed(number!(self, i8).into()),
            Type::I16 => Signed(number!(self, i16).into()),
            Type::I32 | Type::Isize => Signed(number!(self, i32).into()),
            Type::I64 => Signed(number!(self, i64).into()),
            Type::I128 => Signed(number!(self, i128)),
            Type::F32 => Plain(format!("{:?}", number!(self, f32))),
            Type::F64 => Plain(format!("{:?}", number!(self, f64))),
            Type::Bool => match number!(self, u8) {
                byte @ 0..=1 => Plain((byte == 1).to_string()),
                _ => return None,
            },
            Type::Char => Plain(char::from_u32(number!(self, u32))?.into()),
            Type::Str => {
                let count = number!(self, u32) as usize;
                Text(self.utf8(count)?)
            }
            Type::IStr => {
                let index = self.index()?;
                Text(self.text(index)?.into())
            }
            Type::Debug | Type::Display => {
                let text = self.utf8(self.bytes.iter().position(|&byte| byte == 0xff)?)?;
                self.take(1)?;
                Text(text)
            }
            Type::U8Slice => {
                let count = number!(self, u32) as usize;
                Argument::Bytes(self.take(count)?.to_vec())
            }
            Type::U8Array(count) => Argument::Bytes(self.take(*count)?.to_vec()),
            Type::Format => {
                let text = self.format()?;
                self.value(text)?
            }
            Type::FormatSlice => {
                let count = number!(self, u32) as usize;
                self.slice(count)?
            }
            Type::FormatArray(count) => self.slice(*count)?,
            Type::FormatSequence => {
                let mut pieces = Vec::new();
                loop {
                    match self.index()? {
                        0 => break Sequence(pieces),
                        index => {
                            let text = self.text(index)?;
                            pieces.push(Argument::Format(text, self.arguments(text)?));
                        }
                    }
                }
            }
            Type::BitField(range) => {
                // Only the bytes that hold some of its bits are sent.
                let (first, last) = (range.start / 8, (range.end - 1) / 8);
                let bits = match last - first + 1 {
                    1 => number!(self, u8).into(),
                    2 => number!(self, u16).into(),
                    3..=4 => number!(self, u32).into(),
                    5..=8 => number!(self, u64).into(),
                    _ => number!(self, u128),
                };
                Unsigned(bits << (first * 8))
            }
        })
    }

    fn slice(&mut self, count: usize) -> Option<Argument<'t>> {
        if count > MOST {
            return None;
        }
        let text = self.format()?;
        (0..count).map(|_| self.value(text)).collect::<Option<_>>().map(Argument::Slice)
    }

    /// A value of this text, which gives all variants where it is an enum's.
    fn value(&mut self, text: &'t str) -> Option<Argument<'t>> {
        let variants = text.matches('|').count();
        let text = if variants == 0 {
            text
        } else {
            let variant = match variants {
                0..=0xff => number!(self, u8).into(),
                0x100..=0xffff => number!(self, u16).into(),
                _ => number!(self, u32) as usize,
            };
            text.split('|').nth(variant)?
        };
        Some(Argument::Format(text, self.arguments(text)?))
    }

    fn format(&mut self) -> Option<&'t str> {
        let index = self.index()?;
        self.text(index)
    }

    fn text(&self, index: u64) -> Option<&'t str> {
        self.table.texts.get(&index).filter(|text| text.level().is_none()).map(|text| text.text.as_str())
    }

    fn utf8(&mut self, count: usize) -> Option<String> {
        String::from_utf8(self.take(count)?.to_vec()).ok()
    }

    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }
}

/// A text's parameters by their number, each once; the fields of one number are one field.
fn parameters(text: &str) -> Option<Vec<Parameter>> {
    let mut parameters: Vec<Parameter> = Vec::new();
    for fragment in defmt_parser::parse(text, ParserMode::ForwardsCompatible).ok()? {
        let Fragment::Parameter(parameter) = fragment else { continue };
        match parameters.iter_mut().find(|known| known.index == parameter.index) {
            None => parameters.push(parameter),
            Some(known) => {
                if let (Type::BitField(known), Type::BitField(more)) = (&mut known.ty, &parameter.ty) {
                    *known = known.start.min(more.start)..known.end.max(more.end);
                }
            }
        }
    }
    parameters.sort_by_key(|parameter| parameter.index);
    Some(parameters)
}
