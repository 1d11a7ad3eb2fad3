//! Descriptions by hand, and every mistake by its name.

use super::*;
use crate::network::shipped;

fn mistake(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn text_to_network_to_text_is_the_identity() {
    for network in shipped::all() {
        let text = print(network);
        let back = parse(&text).unwrap();
        assert_eq!(back, **network, "{text}");
        assert_eq!(print(&back), text);
    }
}

#[test]
fn every_operation_comes_back() {
    let text = "network every\ninput 4x20x12\npreprocess scale 1/255 mean 0.5,0.25,0.125,0 std 2,2,2,2\nclasses a, b c\n\n\
                conv2d 8 3x3 stride 2x1 pad 0,1,2,1 | batch_norm eps 0.001 | relu6 as stem\n\
                depthwise 3x3 multiplier 2 pad 1 no_bias | leaky_relu slope 0.2 | hard_sigmoid slope 0.2\n\
                conv2d 8 1x1 | max_pool2d 3x3 stride 1 pad 1 as left\n\
                conv2d 8 1x3 pad 0,1,0,1 from stem | tanh | sigmoid | add left | hard_swish | avg_pool2d 2x2 pad 1 exclude_pad\n\
                global_max_pool | linear 6 no_bias | leaky_relu\n\
                linear 2 | hard_sigmoid\n";
    let network = parse(text).unwrap();
    assert_eq!(print(&network), text);
    assert_eq!(network.preprocessing().mean, [0.5, 0.25, 0.125, 0.0]);
    assert_eq!(network.class_names().collect::<Vec<_>>(), ["a", "b c"]);
}

#[test]
fn a_node_without_a_name_gets_one_where_the_text_needs_it() {
    let text = "network two\ninput 4x4x4\n\nrelu as _0\nconv2d 4 1x1 | add _0\n";
    assert_eq!(print(&parse(text).unwrap()), text);
}

#[test]
fn comments_and_blanks_are_skipped_and_numbers_may_be_single() {
    let a = parse("input 1x8x8 # grey\n\n# a block\nconv2d 4 3 pad 1|relu\nflatten | linear 3").unwrap();
    let b = parse("input 1x8x8\nconv2d 4 3x3 pad 1,1,1,1 | relu\nflatten | linear 3").unwrap();
    assert_eq!(a, b);
}

#[test]
fn a_mistake_names_its_line() {
    let head = "network x\ninput 3x8x8\n";
    for (line, wanted) in [
        ("conv 8 3x3", "line 3: conv is no operation; there are conv2d"),
        ("conv2d 8", "line 3: its kernel is missing"),
        ("conv2d 8 3x3 stride", "line 3: nothing follows stride"),
        ("conv2d 8 3x3 pad 1,2", "line 3: pad 1,2: give one number"),
        ("conv2d 8 3x3 eps 1", "line 3: conv2d does not take eps"),
        ("conv2d -1 3x3", "line 3: -1 is no whole number"),
        ("conv2d 8 99x99", "line 3: outputs, kernel and stride"),
        ("relu from nowhere", "line 3: no node before it is called nowhere"),
        ("relu as a | relu as a", "line 3: two nodes are called a"),
        ("relu | | relu", "line 3: there is no operation"),
        ("input 3x8x8", "line 3: there are two lines `input`"),
        ("linear 3", "line 3: it reads a map 3x8x8; flatten it first"),
        ("batch_norm eps nan", "line 3: nan is no number"),
        ("classes a, b\nflatten | linear 3", "line 4: 2 classes are named, the network has 3 outputs"),
        ("conv2d 4294967295 3x3", "line 3: it has no values, or more than"),
    ] {
        let found = mistake(&format!("{head}{line}\n"));
        assert!(found.starts_with(wanted), "{line}: {found}");
    }
    assert_eq!(mistake("network x\n"), "line 1: there is no line `input SHAPE`");
    assert_eq!(mistake(head), "line 2: the network has no node");
}
