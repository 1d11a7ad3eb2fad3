//! The header of a network as a C library. The library itself is the package `bn-c`; its names and types are those given here.

use std::fmt::Write as _;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::types::logit_bits;
use crate::file::WeightsFile;
use crate::format::CODES;
use crate::plan::WORD;

/// The header of the library of a network: sizes as macros, types, and functions whose names begin with `bn_NAME`.
pub fn header(file: &WeightsFile, name: &str) -> String {
    let prefix = format!("bn_{name}");
    let capitals = prefix.to_uppercase();
    let parts = [
        format!(
            "/* The network {}: made by `cargo trainer library`, to be included, not to be changed.\n",
            quoted(file)
        ),
        format!(
            " * One network, one header: names begin with {prefix}. Nothing allocates, fails after {prefix}_open, or keeps state.\n"
        ),
        format!(" */\n#ifndef {capitals}_H\n#define {capitals}_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n"),
        "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n".into(),
        sizes(file, &capitals),
        codes(&prefix, &capitals),
        functions(file, &prefix, &capitals),
        "#ifdef __cplusplus\n}\n#endif\n\n#endif\n".into(),
    ];
    parts.concat()
}

/// The network's name, with nothing in it that ends a comment.
fn quoted(file: &WeightsFile) -> String {
    text(&file.texts().network).replace("*/", "* /")
}

fn sizes(file: &WeightsFile, capitals: &str) -> String {
    let input = file.network().topology.input;
    let scale = file.input_scale();
    let mut text = String::new();
    let mut define = |comment: &str, name: &str, value: String| {
        let _ = writeln!(text, "/* {comment} */\n#define {capitals}_{name} {value}");
    };
    define(&format!("Bytes of an input: {input}, channel, row, column."), "INPUT_BYTES", format!("{}", input.len()));
    define(
        "What they mean: (byte - zero point) * scale. Bytes of pixels go in as they are.",
        "INPUT_SCALE",
        float(scale.scale),
    );
    define("As above.", "INPUT_ZERO_POINT", format!("({})", scale.zero_point));
    define("Values of the output.", "OUTPUTS", format!("{}", file.outputs()));
    define("A logit is its integer times this.", "OUTPUT_SCALE", float(file.output_scale().scale));
    define("Bytes that an inference works in.", "ARENA_BYTES", format!("{}", file.arena_words() * WORD));
    define("Bytes of a model.", "WEIGHTS_BYTES", format!("{}", file.model_bytes().len()));
    define("Digest of the plan: every model of it can be used.", "PLAN", format!("{:#010x}u", file.header().plan));
    let classes: Vec<String> = file.network().class_names().map(self::text).collect();
    if !classes.is_empty() {
        let list = format!("{{{}}}", classes.join(", "));
        define("To initialise an array of strings: the class of each output.", "CLASS_NAMES", list);
    }
    text + "\n"
}

fn codes(prefix: &str, capitals: &str) -> String {
    let mut text = format!("/* What {prefix}_check says. */\nenum {{\n");
    for (code, (name, meaning)) in CODES.iter().enumerate() {
        let error = if code == 0 { "" } else { "ERROR_" };
        let _ = writeln!(text, "    {capitals}_{error}{name} = {code}, /* {meaning} */");
    }
    text + "};\n\n"
}

fn functions(file: &WeightsFile, prefix: &str, capitals: &str) -> String {
    let bits = logit_bits(file);
    format!(
        "/* All memory of an inference, yours to place. Contents need not be cleared between inputs. */
typedef struct {prefix}_arena {{
    uint32_t words[{capitals}_ARENA_BYTES / 4];
}} {prefix}_arena;

/* An integer of the output. */
typedef int{bits}_t {prefix}_logit;

/* A model that was checked: the weights themselves. */
typedef struct {prefix} {prefix};

/* The model that the library was made of. Not linked where it is not named. */
extern const uint32_t {prefix}_weights[{capitals}_WEIGHTS_BYTES / 4];

/* Checks a model: length, checksum, plan, every range. 0 ({capitals}_OK), or why it cannot be used. Reads `bytes` bytes. */
int32_t {prefix}_check(const void *weights, size_t bytes);

/* Checks a model and gives it to be used, as long as nobody changes it; NULL where {prefix}_check is not 0. */
const {prefix} *{prefix}_open(const void *weights, size_t bytes);

/* Runs the network: reads {capitals}_INPUT_BYTES bytes, writes {capitals}_OUTPUTS integers. Gives the index of the largest,
 * the lowest on a tie; -1 where model, input or arena is NULL or the arena not at a multiple of 4. `logits` may be NULL.
 * The four lie apart from each other. Calls with arenas of their own may run at the same time. */
int32_t {prefix}_predict(const {prefix} *model, const uint8_t *input, {prefix}_arena *arena, {prefix}_logit *logits);

/* The byte of a raw value, for sensors that measure in float. */
uint8_t {prefix}_quantize(float raw);

"
    )
}

/// A number as C reads it, to the last bit.
fn float(value: f32) -> String {
    format!("{value:e}f")
}

/// A string as C reads it: what is not plain is bytes in octal, and no two question marks make a trigraph.
fn text(name: &str) -> String {
    let mut text = String::from("\"");
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' | b'?' => {
                text.push('\\');
                text.push(byte.into());
            }
            b' '..=b'~' => text.push(byte.into()),
            _ => {
                let _ = write!(text, "\\{byte:03o}");
            }
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_numbers_are_cs() {
        assert_eq!(text("a \"b\" \\ ??= \u{e9}1\n"), r#""a \"b\" \\ \?\?= \303\2511\012""#);
        assert_eq!([1.0, 1.9073486e-6, 0.5].map(float), ["1e0f", "1.9073486e-6f", "5e-1f"]);
    }
}
