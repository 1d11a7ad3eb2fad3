//! The generated text says each step with literal sizes.

use super::{generate, header, is_name};
use crate::file::tests::lenet;
use crate::kernels::tests::streams;

#[test]
fn lenets_module_is_a_straight_line_of_calls() {
    let text = generate(&lenet(&streams()), "model");
    for line in [
        "pub const INPUT_BYTES: usize = 784;",
        "pub const OUTPUTS: usize = 10;",
        "pub const STEP_NAMES: [&str; STEPS] = [\"first\", \"4\", \"9\", \"12\", \"15\"];",
        "pub const STEP_WORDS: [usize; STEPS] = [432, 128, 60, 44, 12];",
        "pub struct Arena([u32; 944]);",
        "    observe(1, arena, &|arena| step_1(model, arena));",
        "        1 => part::<816, 128, 944>(&arena.0),",
        "    step_0(model, input, arena);\n    step_1(model, arena);",
        "    let (output, rest) = split::<12>(&mut arena.0);",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(text.lines().count() < 250);
}

#[test]
fn a_header_has_the_sizes_and_names_of_its_network() {
    let file = lenet(&streams());
    let text = header(&file, "digits_2");
    for line in [
        "#ifndef BN_DIGITS_2_H",
        "#define BN_DIGITS_2_INPUT_BYTES 784",
        "#define BN_DIGITS_2_OUTPUTS 10",
        "#define BN_DIGITS_2_ARENA_BYTES 3776",
        "    BN_DIGITS_2_OK = 0, /* a sound model of this plan */",
        "    BN_DIGITS_2_ERROR_CHECKSUM = 7, ",
        "extern const uint32_t bn_digits_2_weights[BN_DIGITS_2_WEIGHTS_BYTES / 4];",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn names_of_modules_are_plain() {
    assert!(["model", "a", "digits_2"].into_iter().all(is_name));
    assert!(!["", "2", "_a", "a-b", "Model", "a\u{e9}", "../a"].into_iter().any(is_name));
    assert!(!is_name(&"a".repeat(65)));
}
