//! Hostile descriptions of networks: shipped texts, damaged, and lines put together from the words of the form. Touches no file.

use host_trainer::model::fold::fold;
use host_trainer::model::parameters::{Parameters, Variance};
use host_trainer::network::{shipped, text};

use super::Files;
use super::memory::within;

/// Memory that a description may take for each of its bytes, and at least.
const ROOM: (usize, usize) = (400, 1 << 16);
/// Parameters up to which a description is also folded.
const SMALL: usize = 100_000;

/// Texts to damage.
pub fn files() -> Files {
    let texts = shipped::all().iter().map(|network| text::print(network).into_bytes());
    Files::new(texts.map(|text| (text.clone(), text.len())).collect())
}

/// A text: what is accepted prints as a text that means the same, and folds to a sound network; what is not is one line with
/// a line's number.
///
/// # Panics
/// If a property does not hold.
pub fn network(bytes: &[u8]) -> bool {
    let Ok(given) = str::from_utf8(bytes) else { return false };
    match within(ROOM.0 * given.len() + ROOM.1, || text::parse(given)) {
        Ok(network) => {
            let printed = text::print(&network);
            let back = text::parse(&printed).unwrap_or_else(|mistake| panic!("{mistake} in {printed}"));
            assert_eq!(back, network, "{printed}");
            assert_eq!(text::print(&back), printed);
            if network.parameters().iter().map(|p| p.dims.len()).sum::<usize>() <= SMALL {
                let parameters = Parameters::zero(&network.into(), Variance::Biased);
                let folded = fold(&parameters).parameters;
                assert_eq!(folded.network.output(), parameters.network.output());
            }
            true
        }
        Err(mistake) => {
            let message = mistake.to_string();
            assert!(message.starts_with("line ") && !message.contains(char::is_control), "{message:?}");
            false
        }
    }
}

/// A text of up to a dozen lines from the words of the form, as arbitrary bytes choose them.
pub fn composed(choices: &[u8]) -> Vec<u8> {
    let mut text = String::from("input 4x9x7\n");
    for (i, &choice) in choices.iter().take(200).enumerate() {
        text += WORDS[usize::from(choice) % WORDS.len()];
        text.push(if i % 8 == 7 { '\n' } else { ' ' });
    }
    text.into_bytes()
}

const WORDS: [&str; 40] = [
    "|",
    "|",
    "|",
    "\n",
    "conv2d",
    "conv2d 4 3x3 pad 1",
    "depthwise 3x3",
    "linear 3",
    "batch_norm",
    "relu",
    "relu6",
    "leaky_relu",
    "sigmoid",
    "tanh",
    "hard_sigmoid",
    "hard_swish",
    "avg_pool2d 2x2",
    "max_pool2d 3x3",
    "global_avg_pool",
    "global_max_pool",
    "flatten",
    "add a",
    "add input",
    "as a",
    "from a",
    "from input",
    "stride 2",
    "stride 1x2",
    "pad 1",
    "pad 0,1,0,1",
    "multiplier 2",
    "eps 0.001",
    "slope 0.2",
    "no_bias",
    "exclude_pad",
    "4",
    "3x3",
    "preprocess mean 2",
    "classes a, b, c",
    "network x",
];
