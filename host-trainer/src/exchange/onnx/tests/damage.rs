//! Files that lie: an error or a sound network, in bounded time.

use std::path::Path;

use super::super::proto::*;
use super::super::{read, to_bytes};
use super::{File, everything, int, numbers};
use crate::model::parameters::Variance;

#[test]
fn a_circle_costs_no_more_than_one_round() {
    // A node that is its own input, with as many constants besides as there are other nodes.
    let many = 200_000;
    let mut file = File::new(&[0, 2]).counted("w", &[2]).node("Sum", "y x -> y", &[]);
    file.graph.node[0].input.extend(vec!["w".to_owned(); many]);
    file.graph.node.resize(many, NodeProto::default());
    assert!(file.refused().contains("runs in a circle"));
}

#[test]
fn constants_do_not_grow_beyond_what_is_stored() {
    let mut file = File::new(&[0, 2]).ints("c0", &[1, 2]);
    for i in 0..60 {
        file = file.node("Concat", &format!("c{i} c{i} -> c{}", i + 1), &[int("axis", 0)]);
    }
    let text = file.node("Reshape", "x c60 -> y", &[]).refused();
    assert!(text.contains("more constants are computed than its tensors give reason for"), "{text}");
    let mut file = File::new(&[0, 2]);
    for i in 0..30_000 {
        file = file.node("Relu", &format!("{} -> r{i}", if i == 0 { "x".into() } else { format!("r{}", i - 1) }), &[]);
    }
    // A chain of one function is that function.
    assert_eq!(file.node("Identity", "r29999 -> y", &[]).net().0, "input 2 / relu");
}

#[test]
fn no_damage_is_more_than_an_error() {
    let whole = to_bytes(&everything(), &numbers(&everything()), Variance::Biased);
    let reads = |bytes: &[u8]| read(Path::new("/nowhere/x"), bytes).is_ok();
    assert!(reads(&whole));
    for length in (0..whole.len()).step_by(97) {
        assert!(!reads(&whole[..length]), "{length} bytes");
    }
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            reads(&bytes);
        }
    }
}
