//! Why a file is not read, and what its user can do.

/// A file that is not read.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: String,
    pub(super) remedy: &'static str,
}

const REMEDY: &str = "export the network for inference, with torch.onnx.export(net.eval(), ...) or tf2onnx, without what is \
                      named";
/// For what was quantised elsewhere.
const BEFORE_QUANTISING: &str = "give the float network: python -m tf2onnx.convert from the Keras model or SavedModel, or \
                                 torch.onnx.export before quantising; quantising is done here";
/// For a BatchNorm that is not frozen.
const FOR_INFERENCE: &str = "export it for inference: after net.eval(), with d2l's own layer under torch.no_grad()";

impl From<String> for Refusal {
    fn from(problem: String) -> Self {
        Self { problem, remedy: REMEDY }
    }
}

impl Refusal {
    pub(super) fn quantised(problem: String) -> Self {
        Self { problem, remedy: BEFORE_QUANTISING }
    }

    pub(super) fn in_training(problem: String) -> Self {
        Self { problem, remedy: FOR_INFERENCE }
    }
}
