//! Tells what a file is from its first bytes, and of a zip archive also from its last ones, so that a wrong file can be refused
//! by its own name and with the command that makes the right one of it.

use std::path::Path;

use bn_core::format::MAGIC;

use crate::data::files::looks_like_html;

/// What is looked at, at either end of a file.
pub(super) const LOOKED_AT: usize = 64 << 10;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// safetensors: a checkpoint of ours, or a state_dict.
    Safetensors,
    /// A `weights.bin`.
    Weights,
    /// ONNX.
    Onnx,
    /// IDX: images or labels.
    Idx,
    /// gzip.
    Gzip,
    /// A program for a device or this computer.
    Elf,
    /// A WebAssembly module.
    Wasm,
    /// A zip archive that `torch.save` wrote.
    TorchSave,
    /// A zip archive that PyTorch Lightning wrote.
    Lightning,
    /// A zip archive that `torch.jit.save` wrote.
    TorchScript,
    /// A zip archive that `torch.export.save` wrote.
    TorchExport,
    /// A pickle: `torch.save` before PyTorch 1.6, joblib, scikit-learn.
    Pickle,
    /// NumPy's arrays, one or a zip archive of them.
    Numpy,
    /// HDF5 or a zip archive that Keras wrote.
    Keras,
    /// TensorFlow Lite.
    TfLite,
    /// An archive or compressed file of another kind, by its name.
    Archive(&'static str),
    /// A web page.
    WebPage,
    /// What Git LFS leaves in place of a file.
    LfsPointer,
    /// A picture, by the name of its format.
    Picture(&'static str),
    /// Another kind, by its name.
    Other(&'static str),
    /// Nothing.
    Empty,
    /// Zeros where a file has its header.
    Zeros,
}

/// Beginnings that tell a kind on their own.
const BEGINNINGS: [(&[u8], Kind); 30] = [
    (b"version https://git-lfs.github.com/spec/", Kind::LfsPointer),
    (&MAGIC, Kind::Weights),
    (b"\x7fELF", Kind::Elf),
    (b"\0asm", Kind::Wasm),
    (b"\x1f\x8b", Kind::Gzip),
    (b"\0\0\x08\x01", Kind::Idx),
    (b"\0\0\x08\x03", Kind::Idx),
    (b"\0\0\x08\x04", Kind::Idx),
    (b"\0\0\x0c\x02", Kind::Idx),
    (b"\x93NUMPY", Kind::Numpy),
    (b"\x89HDF\r\n\x1a\n", Kind::Keras),
    (b"\x89PNG\r\n\x1a\n", Kind::Picture("PNG")),
    (b"\xff\xd8\xff", Kind::Picture("JPEG")),
    (b"GIF8", Kind::Picture("GIF")),
    (b"II*\0", Kind::Picture("TIFF")),
    (b"MM\0*", Kind::Picture("TIFF")),
    (b"RIFF", Kind::Picture("WebP")),
    (b"%PDF", Kind::Other("a PDF")),
    (b"GGUF", Kind::Other("a GGUF model")),
    (b"PAR1", Kind::Other("a Parquet table")),
    (b"SQLite format 3\0", Kind::Other("an SQLite database")),
    (b"\xfd7zXZ\0", Kind::Archive("xz")),
    (b"\x28\xb5\x2f\xfd", Kind::Archive("zstd")),
    (b"BZh", Kind::Archive("bzip2")),
    (b"7z\xbc\xaf\x27\x1c", Kind::Archive("7z")),
    (b"Rar!", Kind::Archive("RAR")),
    (b"\x80\x02", Kind::Pickle),
    (b"\x80\x03", Kind::Pickle),
    (b"\x80\x04", Kind::Pickle),
    (b"\x80\x05", Kind::Pickle),
];

impl Kind {
    /// The kind of a file with this beginning and end, if it is known. ONNX has no mark of its own: see
    /// `looks_like_onnx`.
    pub(super) fn of(start: &[u8], end: &[u8]) -> Option<Self> {
        if start.is_empty() {
            return Some(Kind::Empty);
        }
        // A header of safetensors may have the length that looks like a pickle's mark.
        if start.get(8) == Some(&b'{') && start[4..8] == [0; 4] {
            return Some(Kind::Safetensors);
        }
        if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
            return Some(zip(start, end));
        }
        if let Some((_, kind)) = BEGINNINGS.iter().find(|(begins, _)| start.starts_with(begins)) {
            return Some(*kind);
        }
        match start {
            _ if looks_like_html(start) => Some(Kind::WebPage),
            // Two letters alone are too short a mark; four reserved bytes are zero.
            _ if start.starts_with(b"BM") && start.get(6..10) == Some(&[0; 4]) => Some(Kind::Picture("BMP")),
            _ if start.get(4..8) == Some(b"TFL3") => Some(Kind::TfLite),
            _ if start.get(257..262) == Some(b"ustar") => Some(Kind::Archive("tar")),
            _ if looks_like_onnx(start) => Some(Kind::Onnx),
            _ if start.len() >= 16 && start.iter().all(|&byte| byte == 0) => Some(Kind::Zeros),
            _ => text(start),
        }
    }

    /// What people call it, with its article.
    pub fn name(self) -> String {
        match self {
            Kind::Safetensors => "a safetensors file".into(),
            Kind::Weights => "a weights.bin".into(),
            Kind::Onnx => "an ONNX file".into(),
            Kind::Idx => "an IDX file of images or labels".into(),
            Kind::Gzip => "a gzip file".into(),
            Kind::Elf => "an ELF program".into(),
            Kind::Wasm => "a WebAssembly module".into(),
            Kind::TorchSave => "a zip of pickles as torch.save writes it".into(),
            Kind::Lightning => "a PyTorch Lightning checkpoint (a zip of pickles)".into(),
            Kind::TorchScript => "a TorchScript archive (torch.jit.save)".into(),
            Kind::TorchExport => "an archive of torch.export".into(),
            Kind::Pickle => "a Python pickle".into(),
            Kind::Numpy => "a file of NumPy arrays (npy or npz)".into(),
            Kind::Keras => "a Keras model or other HDF5 file".into(),
            Kind::TfLite => "a TensorFlow Lite model".into(),
            Kind::Archive(name) => format!("a {name} archive"),
            Kind::WebPage => "a web page".into(),
            Kind::LfsPointer => "a Git LFS pointer, which stands in place of the file".into(),
            Kind::Picture(name) => format!("a picture ({name})"),
            Kind::Other(name) => name.into(),
            Kind::Empty => "empty".into(),
            Kind::Zeros => "full of zeros, as a copy that broke off leaves it".into(),
        }
    }

    /// What to do with a file of this kind, whoever was to read it; `None` where that depends on the reader.
    pub(super) fn remedy(self, path: &Path) -> Option<String> {
        let file = path.display();
        // Python's own: a state_dict, which `import` takes.
        let torch = |model: &str| {
            format!(
                "save its state_dict as safetensors: python3 -c \"import torch, safetensors.torch as s; \
                 s.save_file({model}, 'model.safetensors')\", then host-trainer import model.safetensors --out FILE"
            )
        };
        Some(match self {
            Kind::TorchSave | Kind::Pickle => torch(&format!("torch.load('{file}', weights_only=True)")),
            Kind::Lightning => torch(&format!("torch.load('{file}', weights_only=True)['state_dict']")),
            Kind::TorchScript => torch(&format!("torch.jit.load('{file}').state_dict()")),
            Kind::TorchExport => torch(&format!("dict(torch.export.load('{file}').state_dict)")),
            Kind::Numpy => {
                "save the arrays under a state_dict's names with safetensors.numpy.save_file, then host-trainer \
                            import that"
                    .into()
            }
            Kind::Keras => {
                "write the model as ONNX (model.export('model.onnx', format='onnx')), then host-trainer import that"
                    .into()
            }
            Kind::TfLite => "write the model that it was made of as ONNX, then host-trainer import that".into(),
            Kind::Gzip => format!("unpack it with: gunzip {file}"),
            Kind::Archive(_) => "unpack it and name the file in it".into(),
            Kind::WebPage => "open it in a browser to see what it says, and put the real file here".into(),
            Kind::LfsPointer => "fetch the file itself with: git lfs pull".into(),
            Kind::Empty | Kind::Zeros => "take another copy of it".into(),
            _ => return None,
        })
    }
}

/// Which program wrote a zip archive: by the first entry's beginning and the list of entries at the end.
fn zip(start: &[u8], end: &[u8]) -> Kind {
    let has = |name: &[u8]| [start, end].iter().any(|part| part.windows(name.len()).any(|window| window == name));
    match () {
        () if has(b"/constants.pkl") => Kind::TorchScript,
        () if has(b"archive_format") || has(b"serialized_exported_program.json") => Kind::TorchExport,
        () if has(b"pytorch-lightning_version") => Kind::Lightning,
        () if has(b"/data.pkl") => Kind::TorchSave,
        () if has(b".npy") => Kind::Numpy,
        () if has(b"model.weights.h5") => Kind::Keras,
        () => Kind::Archive("zip"),
    }
}

/// The first field of a model is its version, a small number, and another field of the model follows.
fn looks_like_onnx(start: &[u8]) -> bool {
    matches!(start, [0x08, 1..=20, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72, ..])
}

/// Text, which no file is that this program reads.
fn text(start: &[u8]) -> Option<Kind> {
    let is_text = |c: char| !c.is_control() || c.is_whitespace();
    // Where it is cut off in the middle of a character, the beginning is valid.
    let valid = match str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default(),
        Err(_) => return None,
    };
    (!valid.is_empty() && valid.chars().all(is_text)).then(|| match valid.trim_start().starts_with(['{', '[']) {
        true => Kind::Other("JSON"),
        false => Kind::Other("a text file"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zip archive's beginning: its first entry.
    fn zip_entry(name: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.resize(26, 0);
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend([0; 2]);
        [&bytes, name.as_bytes(), content].concat()
    }

    #[test]
    fn kinds_are_told_by_their_bytes() {
        let tail: &[u8] = b"PK\x01\x02 model/code/__torch__.py PK\x01\x02 model/constants.pkl";
        let saved = zip_entry("model/data.pkl", b"\x80\x02}q\0X\x08\0\0\x000.weight");
        let lightning = zip_entry("last/data.pkl", b"\x80\x02}X\x19\0\0\0pytorch-lightning_version");
        let cases: [(&[u8], &[u8], Option<Kind>); 17] = [
            (b"", b"", Some(Kind::Empty)),
            (b"\x80\x02\0\0\0\0\0\0{\"0.weight\"", b"", Some(Kind::Safetensors)),
            (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"", Some(Kind::Pickle)),
            (&saved, b"", Some(Kind::TorchSave)),
            (&saved, tail, Some(Kind::TorchScript)),
            (&lightning, b"", Some(Kind::Lightning)),
            (&zip_entry("0.weight.npy", b"\x93NUMPY"), b"", Some(Kind::Numpy)),
            (&zip_entry("readme", b"x"), b"", Some(Kind::Archive("zip"))),
            (b"<!DOCTYPE html><title>Sign in", b"", Some(Kind::WebPage)),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:", b"", Some(Kind::LfsPointer)),
            (b"\x1c\0\0\0TFL3", b"", Some(Kind::TfLite)),
            (b"\x08\x08\x12\x07pytorch", b"", Some(Kind::Onnx)),
            (b"{\"error\": \"Not found\"}", b"", Some(Kind::Other("JSON"))),
            (b"import torch\n\nnet = 1\n", b"", Some(Kind::Other("a text file"))),
            (&[0; 100], b"", Some(Kind::Zeros)),
            (&[0xFF; 100], b"", None),
            (b"\xd3\x11\x90", b"", None),
        ];
        for (start, end, kind) in cases {
            assert_eq!(Kind::of(start, end), kind, "{start:?}");
        }
    }
}
