//! Which weights a loss depends on.
//!
//! # Definition
//! The diagonal of the empirical Fisher information: the mean over samples of the squared gradient of the loss of
//! each, $F_{ij} = \frac{1}{n} \sum_s (\partial \ell_s / \partial w_{ij})^2$. The square of the mean gradient is another
//! number.

use burn::optim::GradientsParams;
use gpt2_model::{Loss, PlainGpt2, parameters};
use subspace_projectors::Layout;

use crate::Error;
use crate::subspace::flat_gradient;

/// The weights of the linear layers of every block.
pub(crate) fn linear_layers(model: &PlainGpt2) -> Result<Layout, Error> {
    let is_linear = |name: &str, shape: &[usize]| name.starts_with("h.") && shape.len() == 2;
    let weights = parameters(model).into_iter().filter(|it| is_linear(&it.name, &it.shape));
    Ok(Layout::new(weights.map(|it| (it.name, it.shape)))?)
}

/// Of every weight of `layout`, flat; `losses` has a sample each. `model` is [arranged](crate::spec::arrange) by
/// `layout`, on a device with gradients.
pub(crate) fn information(
    model: &PlainGpt2,
    layout: &Layout,
    losses: impl Iterator<Item = Result<Loss, Error>>,
) -> Result<Vec<f64>, Error> {
    let mut samples = 0.0;
    let mut sums = vec![0.0; layout.ambient()];
    for loss in losses {
        let gradients = GradientsParams::from_grads(loss?.backward(), model);
        for (sum, gradient) in sums.iter_mut().zip(flat_gradient(model, layout, &gradients)?) {
            *sum += f64::from(gradient).powi(2);
        }
        samples += 1.0;
    }
    Ok(sums.into_iter().map(|it| it / f64::max(samples, 1.0)).collect())
}
