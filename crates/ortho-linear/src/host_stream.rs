//! The outlier stream on tensors that lie in the memory of the host.
//!
//! # Definition
//! $y \mathrel{+}= \alpha\, x O$ in the memory of $y$, as an operation of burn's autodiff: the gradient of
//! $y$ passes, that of $x$ is $\alpha\, \nabla_y O^\top$, and that of $O$ is $\alpha\, x^\top \nabla_y$ at
//! its entries. A gradient that nobody asks for costs nothing, and nothing is kept for it.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData};

use crate::{Alpha, Pattern};

/// What a product is with, beside tensors.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) pattern: Arc<Pattern>,
    pub(crate) alpha: Alpha,
}

impl Operand {
    /// $y + \alpha\, x O$.
    ///
    /// # Shapes
    /// - y, output: `[tokens, d_out]`
    /// - x: `[tokens, d_in]`
    /// - values: `[entries]`
    ///
    /// # Panics
    /// If a tensor has another shape, or is not of `f32` in the memory of the host.
    pub(crate) fn add_to(self, y: Tensor<2>, x: Tensor<2>, values: Tensor<1>) -> Tensor<2> {
        let keep = Keep { x: values.is_tracked(), values: x.is_tracked() };
        let (y, x, values) = (y.into_dispatch(), x.into_dispatch(), values.into_dispatch());
        Tensor::from_dispatch(Dispatch::add_outliers(y, x, values, self, keep))
    }
}

/// What the way back needs.
#[derive(Debug, Clone, Copy)]
struct Keep {
    x: bool,
    values: bool,
}

#[backend_extension(Autodiff, Flex)]
trait OutlierStream: Backend {
    fn add_outliers(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        values: FloatTensor<Self>,
        operand: Operand,
        keep: Keep,
    ) -> FloatTensor<Self>;
}

type Values = FloatTensor<Flex>;

/// Side by side in row-major order.
fn contiguous(tensor: Values) -> Values {
    if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }
}

/// The numbers of a tensor for which [`contiguous`] was called.
fn slice(tensor: &Values) -> &[f32] {
    tensor.as_slice().expect("`f32`, side by side")
}

/// `values` as a tensor.
fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Values {
    Values::from_data(TensorData::new(values, shape))
}

impl OutlierStream for Flex {
    fn add_outliers(y: Values, x: Values, values: Values, operand: Operand, _: Keep) -> Values {
        let is_whole = |y: &Values| slice(y).len() == y.storage::<f32>().len();
        let y = contiguous(y);
        let mut y =
            if is_whole(&y) { y } else { tensor(slice(&y).to_vec(), y.shape().dims::<2>()) };
        let (x, values) = (contiguous(x), contiguous(values));
        let tokens = x.shape()[0];
        let Operand { pattern, alpha } = operand;
        pattern
            .add_product(slice(&values), slice(&x), tokens, alpha, y.storage_mut())
            .expect("the shapes of a layer");
        y
    }
}

#[derive(Debug)]
struct AddOutliers;

/// What was kept for the way back.
#[derive(Debug, Clone)]
struct Kept {
    operand: Operand,
    x: Option<Values>,
    values: Option<Values>,
}

impl Backward<Flex, 3> for AddOutliers {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [y_node, x_node, values_node] = ops.parents;
        let Kept { operand: Operand { pattern, alpha }, x, values } = ops.state;
        let gradient = contiguous(gradients.consume::<Flex>(&ops.node));
        let y = slice(&gradient);
        let [d_in, d_out] = pattern.shape();
        let tokens = y.len() / d_out;
        let fits = "the shapes of the way forward";
        if let (Some(node), Some(x)) = (values_node, x) {
            let values = pattern.sampled_product(slice(&x), y, tokens, alpha).expect(fits);
            let entries = values.len();
            gradients.register::<Flex>(node.id, tensor(values, [entries]));
        }
        if let (Some(node), Some(values)) = (x_node, values) {
            let mut x = vec![0.0; tokens * d_in];
            pattern.add_transposed_product(slice(&values), y, tokens, alpha, &mut x).expect(fits);
            gradients.register::<Flex>(node.id, tensor(x, [tokens, d_in]));
        }
        if let Some(node) = y_node {
            gradients.register::<Flex>(node.id, gradient);
        }
    }
}

impl<C: CheckpointStrategy> OutlierStream for Autodiff<Flex, C> {
    fn add_outliers(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        values: FloatTensor<Self>,
        operand: Operand,
        keep: Keep,
    ) -> FloatTensor<Self> {
        let nodes = [y.node(), x.node(), values.node()];
        let y = y.into_primitive();
        let (x, values) = (contiguous(x.into_primitive()), contiguous(values.into_primitive()));
        let add = |x: &Values, values: &Values| {
            Flex::add_outliers(y, x.clone(), values.clone(), operand.clone(), keep)
        };
        match AddOutliers.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(operation) => {
                let sum = add(&x, &values);
                let (x, values) = (keep.x.then_some(x), keep.values.then_some(values));
                operation.finish(Kept { operand, x, values }, sum)
            }
            OpsKind::UnTracked(operation) => operation.finish(add(&x, &values)),
        }
    }
}
