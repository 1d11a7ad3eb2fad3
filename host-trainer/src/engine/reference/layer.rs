//! The parameters of a node, as they lie among the network's tensors: flat, row-major, in PyTorch's layout.

/// Weight and bias of a convolution or of a linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a, T> {
    /// `[out, in / groups, kernel_h, kernel_w]` or `[out, in]`.
    pub weight: &'a [T],
    /// `[out]`; none where the description says so.
    pub bias: Option<&'a [T]>,
}

/// Gradients of a convolution's or linear layer's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerGradient<T> {
    /// As the weight.
    pub weight: Vec<T>,
    /// As the bias.
    pub bias: Option<Vec<T>>,
}

/// What one BatchNorm layer learns and tracks, `[c]` each.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a, T> {
    /// Learned scale.
    pub gamma: &'a [T],
    /// Learned shift.
    pub beta: &'a [T],
    /// Moving mean: d2l's `moving_mean`.
    pub running_mean: &'a [T],
    /// Moving variance: d2l's `moving_var`.
    pub running_var: &'a [T],
    /// Added to the variance, inside the square root.
    pub eps: T,
}
