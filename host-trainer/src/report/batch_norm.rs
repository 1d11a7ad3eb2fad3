//! The BatchNorm layers: what they learned and what they tracked, channel by channel.

use bn_core::network::Value;
use maud::{Markup, html};

use super::table::wide;
use crate::chart::bars;
use crate::model::parameters::Parameters;
use crate::network::text;
use crate::numbers::figures;

/// More layers than that are folded up, below a table of all.
const UNFOLDED: usize = 6;

/// One layer's values, `[channels]` each.
struct Layer {
    /// Name of its module.
    module: String,
    /// What it stands behind.
    behind: String,
    /// Name, formula and values of each part.
    parts: [(&'static str, &'static str, Vec<f64>); 5],
}

/// The section.
pub(super) fn section(parameters: &Parameters) -> Markup {
    let layers = layers(parameters);
    html! {
        p {
            "Each channel of a layer becomes gamma · (x − mean) / deviation + beta, where the deviation is √(variance + eps). The gain, "
            "gamma over deviation, is what folding multiplies the channel's weights by; near zero, the channel is dead."
        }
        @if layers.len() > UNFOLDED { (overview(&layers)) }
        @for (i, layer) in layers.iter().enumerate() {
            @let name = format!("BatchNorm {}", i + 1);
            @let heading = format!("{name}, behind {} (module {}, {} channels)", layer.behind, layer.module, layer.parts[0].2.len());
            @if layers.len() > UNFOLDED {
                details.layer { summary { (heading) } (one(layer, &name)) }
            } @else {
                h3 { (heading) }
                (one(layer, &name))
            }
        }
    }
}

/// A row a layer: of many layers nobody scrolls through all.
fn overview(layers: &[Layer]) -> Markup {
    let caption = "Each layer's channels: smallest to largest";
    let range = |values: &[f64]| {
        let [low, _, high] = quantiles(values).map(figures);
        format!("{low} to {high}")
    };
    wide(
        caption,
        html! {
            table.layers {
                caption { (caption) }
                thead {
                    tr {
                        @for heading in ["layer", "channels"] { th scope="col" { (heading) } }
                        @for (part, ..) in layers.iter().take(1).flat_map(|layer| &layer.parts) { th scope="col" { (part) } }
                    }
                }
                tbody {
                    @for (i, layer) in layers.iter().enumerate() {
                        tr {
                            th scope="row" { (i + 1) }
                            td { (layer.parts[0].2.len()) }
                            @for (.., values) in &layer.parts { td { (range(values)) } }
                        }
                    }
                }
            }
        },
    )
}

fn layers(parameters: &Parameters) -> Vec<Layer> {
    let network = &parameters.network;
    let layer = |node: usize| {
        let [gamma, beta, mean, variance] = parameters.of(node) else { unreachable!("a BatchNorm has four tensors") };
        let eps = f64::from(network.eps(node));
        let deviation: Vec<_> = variance.iter().map(|v| (v + eps).sqrt()).collect();
        let gain = gamma.iter().zip(&deviation).map(|(gamma, deviation)| gamma / deviation).collect();
        Layer {
            module: network.module(node).into_owned(),
            behind: match network.nodes()[node].input {
                Value::Input => "the input".into(),
                Value::Node(at) => text::op(&network.nodes()[at].op, network.input_of(at).channels, |_| String::new()),
            },
            parts: [
                ("gamma", "learned scale", gamma.clone()),
                ("beta", "learned shift", beta.clone()),
                ("mean", "running mean", mean.clone()),
                ("deviation", "square root of running variance and eps", deviation),
                ("gain", "gamma over deviation", gain),
            ],
        }
    };
    network.batch_norms().map(layer).collect()
}

fn one(layer: &Layer, name: &str) -> Markup {
    let channels = layer.parts[0].2.len();
    html! {
        (wide(&format!("{name}, summary"), html! {
            table {
                caption { "Over the channels" }
                thead {
                    tr { @for heading in ["", "smallest", "median", "largest"] { th scope="col" { (heading) } } }
                }
                tbody {
                    @for (part, _, values) in &layer.parts {
                        @let [low, median, high] = quantiles(values);
                        tr { th scope="row" { (part) } @for value in [low, median, high] { td { (figures(value)) } } }
                    }
                }
            }
        }))
        div.charts {
            @for (part, formula, values) in &layer.parts[..4] {
                @let [low, median, high] = quantiles(values).map(figures);
                @let summary = format!("{part} of {channels} channels: from {low} to {high}, median {median}");
                (bars(&format!("{part}: {formula}"), &summary, values))
            }
        }
        details {
            summary { "All " (channels) " channels in figures" }
            (wide(&format!("{name}, channels"), html! {
                table {
                    caption { (name) ", channel by channel" }
                    thead {
                        tr {
                            th scope="col" { "channel" }
                            @for (part, ..) in &layer.parts { th scope="col" { (part) } }
                        }
                    }
                    tbody {
                        @for channel in 0..channels {
                            tr {
                                th scope="row" { (channel) }
                                @for (.., values) in &layer.parts { td { (figures(values[channel])) } }
                            }
                        }
                    }
                }
            }))
        }
    }
}

/// Smallest, median (the lower of two) and largest.
fn quantiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [sorted[0], sorted[(sorted.len() - 1) / 2], sorted[sorted.len() - 1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parameters::Variance;

    #[test]
    fn every_layer_and_channel_is_there() {
        let parameters = Parameters::zero(&crate::network::Network::lenet(), Variance::Biased);
        let html = section(&parameters).into_string();
        for text in ["behind conv2d 6 5x5 (module 1, 6 channels)", "behind linear 84 (module 13, 84 channels)"] {
            assert!(html.contains(text), "{text}");
        }
        assert_eq!(html.matches("<th scope=\"row\">").count(), 4 * 5 + 6 + 16 + 120 + 84);
        let resnet = Parameters::zero(&crate::network::shipped::find("resnet8").unwrap(), Variance::Biased);
        let html = section(&resnet).into_string();
        let layers = resnet.network.batch_norms().count();
        assert_eq!((html.matches("<details class=\"layer\">").count(), html.matches("<h3>").count()), (layers, 0));
        assert_eq!(quantiles(&[3.0, -1.0, 2.0, 7.0]), [-1.0, 2.0, 7.0]);
    }
}
