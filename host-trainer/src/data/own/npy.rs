//! NumPy's arrays. Source: numpy.lib.format, versions 1.0 to 3.0.

/// How a `.npy` begins.
pub const MAGIC: &[u8] = b"\x93NUMPY";

/// An array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// Its values.
    pub values: Values,
}

/// Values by type.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// `u1`.
    U8(Vec<u8>),
    /// `f4`.
    F32(Vec<f32>),
    /// Other integers.
    I64(Vec<i64>),
    /// `U`: texts.
    Text(Vec<String>),
}

/// Parses a `.npy`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(bytes: &[u8]) -> Result<Array, String> {
    let cut = || "it is cut off".to_owned();
    if !bytes.starts_with(MAGIC) {
        return Err("it does not begin as a .npy does".into());
    }
    let major = *bytes.get(6).ok_or_else(cut)?;
    let (start, length): (usize, _) = match major {
        1 => (10, bytes.get(8..10).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])))),
        2 | 3 => (12, bytes.get(8..12).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)),
        _ => return Err(format!("its .npy version is {major}, not 1 to 3")),
    };
    let end = length.and_then(|length| start.checked_add(length)).ok_or_else(cut)?;
    let header = std::str::from_utf8(bytes.get(start..end).ok_or_else(cut)?).map_err(|_| "its header is no text")?;
    let data = &bytes[end..];
    if field(header, "fortran_order").is_some_and(|value| value.starts_with("True")) {
        return Err("it is column-major; save numpy.ascontiguousarray of it".into());
    }
    let dims = shape(header).ok_or("its header has no shape")?;
    let count = dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).ok_or("its shape is too large")?;
    let kind = field(header, "descr").and_then(|v| v.split(['\'', '"']).nth(1)).ok_or("its header has no type")?;
    let width = width(kind)?;
    if count.checked_mul(width) != Some(data.len()) {
        return Err(format!("it has {} bytes of values, its shape {dims:?} is {count} of {width}", data.len()));
    }
    Ok(Array { dims, values: values(kind, width, data)? })
}

/// Bytes of a value of that type.
fn width(kind: &str) -> Result<usize, String> {
    let text = kind.strip_prefix("<U").and_then(|length| length.parse::<usize>().ok());
    match (kind, text) {
        ("|u1" | "u1" | "<u1" | "|i1", _) => Ok(1),
        ("<i2" | "<u2", _) => Ok(2),
        ("<i4" | "<u4" | "<f4", _) => Ok(4),
        ("<i8" | "<u8", _) => Ok(8),
        (_, Some(length)) if (1..=1024).contains(&length) => Ok(4 * length),
        ("<f8", _) => Err("it holds <f8; save it as uint8 or float32: array.astype('float32')".into()),
        (other, _) => Err(format!("it holds {other}, neither uint8 nor float32")),
    }
}

fn values(kind: &str, width: usize, data: &[u8]) -> Result<Values, String> {
    let wide = |read: fn(&[u8]) -> i64| Values::I64(data.chunks_exact(width).map(read).collect());
    Ok(match kind {
        "|u1" | "u1" | "<u1" => Values::U8(data.to_vec()),
        "<f4" => Values::F32(data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
        "|i1" => wide(|b| i64::from(b[0] as i8)),
        "<i2" => wide(|b| i64::from(i16::from_le_bytes([b[0], b[1]]))),
        "<u2" => wide(|b| i64::from(u16::from_le_bytes([b[0], b[1]]))),
        "<i4" => wide(|b| i64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
        "<u4" => wide(|b| i64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
        "<i8" | "<u8" => wide(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])),
        _ => Values::Text(data.chunks_exact(width).map(text).collect::<Option<_>>().ok_or("its texts are no Unicode")?),
    })
}

/// Four bytes a character, padded by zeros.
fn text(bytes: &[u8]) -> Option<String> {
    let codes = bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b));
    let text: String = codes.map(char::from_u32).collect::<Option<_>>()?;
    Some(text.trim_end_matches('\0').to_owned())
}

/// What stands behind a key of the header, which is a literal of Python.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}'"))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

fn shape(header: &str) -> Option<Vec<usize>> {
    let (inside, _) = field(header, "shape")?.strip_prefix('(')?.split_once(')')?;
    inside.split(',').map(str::trim).filter(|d| !d.is_empty()).map(|d| d.parse().ok()).collect()
}
