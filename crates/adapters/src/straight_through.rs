//! The straight-through estimator: one value, another gradient.
//!
//! # Definition
//! The result has the value of `value` and, for every pair $(t, p)$ of `terms`, the gradient
//! $\sum g\,p$ at $t$, with $g$ the gradient at the result. It is
//! $v + \sum (t - \bar t)\,\bar p$, where a bar cuts the graph and the terms are exactly zero.
//!
//! # Reference
//! Y. Bengio et al., *Estimating or Propagating Gradients Through Stochastic Neurons*, 2013,
//! arXiv:1308.3432.

use burn::tensor::Tensor;

/// `value` with the gradients of `terms`: a tensor and the derivative of the result by it, both of a
/// shape that broadcasts to that of `value`.
pub fn straight_through<const D: usize>(
    value: Tensor<D>,
    terms: &[(Tensor<D>, Tensor<D>)],
) -> Tensor<D> {
    terms.iter().fold(value.detach(), |sum, (tensor, derivative)| {
        sum + (tensor.clone() - tensor.clone().detach()) * derivative.clone().detach()
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_value_is_exact_and_the_gradients_are_the_given_ones() {
        let device = Device::default().autodiff();
        let x = Tensor::<2>::from_data([[0.1, -3.0, 2.0]], &device).require_grad();
        let scale = Tensor::<2>::from_data([[0.3]], &device).require_grad();
        let value = Tensor::<2>::from_data([[0.3, -0.9, 0.9]], &device);
        let mask = Tensor::<2>::from_data([[1.0, 0.0, 1.0]], &device);
        let followed = Tensor::<2>::from_data([[0.5, -3.0, 0.25]], &device);
        let y = straight_through(value.clone(), &[(x.clone(), mask), (scale.clone(), followed)]);
        assert_eq!(y.clone().into_data(), value.into_data());
        let output = Tensor::<2>::from_data([[1.0, 10.0, 100.0]], &device);
        let grads = (y * output).sum().backward();
        let gradient = |tensor: &Tensor<2>| tensor.grad(&grads).unwrap().into_data();
        assert_eq!(gradient(&x).try_to_vec::<f32>().unwrap(), [1.0, 0.0, 100.0]);
        // 0.5 - 30 + 25
        assert_eq!(gradient(&scale).try_to_vec::<f32>().unwrap(), [-4.5]);
    }
}
