//! The model that the tests of fake quantisation share.

use burn::tensor::{Device, Int, Tensor};
use counter_rng::Key;
use gpt2_model::{Gpt2Config, PlainGpt2};
use quantizers::BitWidth;

pub(crate) fn bits(bits: u8) -> BitWidth {
    BitWidth::new(bits).unwrap()
}

/// Two blocks of 12 channels, random.
pub(crate) fn plain(device: &Device) -> PlainGpt2 {
    let config = Gpt2Config {
        vocab_size: 19,
        n_positions: 8,
        n_embd: 12,
        n_layer: 2,
        n_head: 3,
        ..Gpt2Config::default()
    };
    PlainGpt2::random(&config, Key::from_seed(3), device).unwrap()
}

/// `[batch, seq]` = `[2, 8]`, every token of the model but three.
pub(crate) fn tokens(device: &Device) -> Tensor<2, Int> {
    Tensor::<1, Int>::arange(1..17, device).reshape([2, 8])
}

pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().into_data().iter::<f32>().collect()
}
