//! The networks that come with the program: `--network NAME`. A file of one's own is `--network FILE.net`.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::{Network, text};
use crate::error::{Error, Result};
use crate::files;

/// Names and texts, the demo's first.
const TEXTS: [(&str, &str); 8] = [
    ("lenet", include_str!("../../networks/lenet.net")),
    ("lenet_plain", include_str!("../../networks/lenet_plain.net")),
    ("small28", include_str!("../../networks/small28.net")),
    ("resnet8", include_str!("../../networks/resnet8.net")),
    ("ds_cnn", include_str!("../../networks/ds_cnn.net")),
    ("mobilenet_v1_025", include_str!("../../networks/mobilenet_v1_025.net")),
    ("autoencoder", include_str!("../../networks/autoencoder.net")),
    ("sequence", include_str!("../../networks/sequence.net")),
];

static NETWORKS: LazyLock<Vec<Arc<Network>>> = LazyLock::new(|| {
    let parse = |(name, text): &(&str, &str)| match text::parse(text) {
        Ok(network) => Arc::new(network),
        Err(mistake) => panic!("{name}.net: {mistake}"),
    };
    TEXTS.iter().map(parse).collect()
});

/// All of them.
pub fn all() -> &'static [Arc<Network>] {
    &NETWORKS
}

/// The one of that name.
pub fn get(name: &str) -> Option<Arc<Network>> {
    all().iter().find(|network| network.name() == name).cloned()
}

/// The network of a name, or of a `.net` file.
///
/// # Errors
/// [`Error::BadArgument`] with the names there are; [`Error::BadFile`] with the line of a mistake.
pub fn find(name_or_file: &str) -> Result<Arc<Network>> {
    if let Some(network) = get(name_or_file) {
        return Ok(network);
    }
    let path = Path::new(name_or_file);
    if path.extension().is_none() && !path.exists() {
        let names: Vec<_> = all().iter().map(|network| network.name()).collect();
        return Err(Error::BadArgument {
            problem: format!("there is no network {name_or_file}"),
            remedy: format!("name one of {}, or a .net file", names.join(", ")),
        });
    }
    let bytes = files::read(path, &files::NETWORK)?;
    let damaged = |problem: String| Error::bad_file(path, problem, "see `host-trainer inspect lenet` for the form");
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is no text".into()))?;
    text::parse(text).map(Arc::new).map_err(|mistake| damaged(mistake.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_bn_cores() {
        let lenet = Network::lenet();
        assert_eq!(lenet.view(), bn_core::lenet::NETWORK);
    }

    #[test]
    fn shipped_networks_have_their_published_sizes() {
        // Multiply-accumulates and parameters of MLPerf Tiny's four, BatchNorm's statistics included.
        for (name, macs, parameters) in [
            ("resnet8", 12_501_632, 78_666),
            ("ds_cnn", 2_656_768, 24_908),
            ("mobilenet_v1_025", 7_489_664, 221_794),
            ("autoencoder", 264_192, 269_992),
        ] {
            let network = get(name).unwrap();
            let counted: usize = network.parameters().iter().map(|p| p.dims.len()).sum();
            assert_eq!((network.topology().macs(), counted), (macs, parameters), "{name}");
        }
        let small = get("small28").unwrap();
        assert!(small.topology().macs() <= 3_000_000 && small.topology().trained_parameters() <= 60_000);
        assert_eq!(all().iter().map(|n| n.name()).collect::<Vec<_>>(), TEXTS.map(|(name, _)| name));
    }

    #[test]
    fn the_documents_table_is_theirs() {
        let page = include_str!("../../../docs/networks.md");
        for network in all() {
            let macs = crate::numbers::thousands(network.topology().macs());
            let row = format!("| `{}` | {} | {macs} |", network.name(), network.input());
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn a_name_that_is_none_lists_those_that_are() {
        let error = find("lenett").unwrap_err();
        assert!(error.to_string().contains("name one of lenet, lenet_plain"), "{error}");
    }
}
