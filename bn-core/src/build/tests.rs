//! The generated text says each step with literal sizes.

use super::generate;
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
