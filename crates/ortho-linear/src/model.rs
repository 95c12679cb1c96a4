//! GPT-2 with layers of two streams.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use gpt2_model::{Gpt2, PlainGpt2};

use crate::{Alpha, OrthoError, OrthoLinear, Split};

/// GPT-2 with a base and outliers in every linear layer.
pub type OrthoGpt2 = Gpt2<OrthoLinear, LayerNorm>;

/// The streams of all layers, and of one by its name in a checkpoint (`h.0.attn.c_attn`).
pub trait Streams: Sized {
    /// `model`, frozen, with those layers as base and outliers for which there is a split, at alpha 1. The
    /// other layers, and a tied head, stay dense.
    ///
    /// # Errors
    /// [`OrthoError::NoSuchLayer`] or [`OrthoError::LayerShape`].
    fn with_splits(model: PlainGpt2, splits: &BTreeMap<String, Split>) -> Result<Self, OrthoError>;

    /// Every linear layer with its name, in the order of the blocks.
    fn streams(&self) -> Vec<(String, &OrthoLinear)>;

    /// One of them, for its alpha to be set.
    ///
    /// # Errors
    /// [`OrthoError::NoSuchLayer`].
    fn layer(&self, name: &str) -> Result<&OrthoLinear, OrthoError> {
        let layers = self.streams();
        let names = || layers.iter().map(|it| it.0.as_str()).collect::<Vec<_>>();
        let found = layers.iter().find(|it| it.0 == name);
        found.map(|it| it.1).ok_or_else(|| no_such_layer(name, &names()))
    }

    /// [`OrthoLinear::set_alpha`] of all layers.
    fn set_alpha(&self, alpha: Alpha) {
        self.streams().iter().for_each(|(_, layer)| layer.set_alpha(alpha));
    }

    /// [`OrthoLinear::set_privacy`] of all layers.
    fn set_privacy(&self, is_private: bool) {
        self.streams().iter().for_each(|(_, layer)| layer.set_privacy(is_private));
    }

    /// [`OrthoLinear::train_outliers`] of all layers.
    #[must_use]
    fn train_outliers(self) -> Self;

    /// [`OrthoLinear::materialised`] of all layers.
    fn materialised(&self) -> PlainGpt2;
}

impl Streams for OrthoGpt2 {
    fn with_splits(model: PlainGpt2, splits: &BTreeMap<String, Split>) -> Result<Self, OrthoError> {
        let device = model.wte.weight.lazy_device();
        let mut names = Vec::new();
        let layer = |name: &str, base: Linear| {
            names.push(name.to_owned());
            let Some(split) = splits.get(name) else { return Ok(OrthoLinear::dense(base)) };
            let (found, expected) = (split.shape(), base.weight.lazy_shape().dims());
            if found != expected {
                return Err(OrthoError::LayerShape { name: name.to_owned(), found, expected });
            }
            Ok(OrthoLinear::new(split, base.bias, &device))
        };
        let model = model.no_grad().map_layers(layer, |_, norm| Ok(norm))?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match splits.keys().find(|it| !names.contains(&it.as_str())) {
            Some(name) => Err(no_such_layer(name, &names)),
            None => Ok(model),
        }
    }

    fn streams(&self) -> Vec<(String, &OrthoLinear)> {
        let blocks = self.h.iter().enumerate().flat_map(|(i, block)| {
            let layers = [
                ("attn.c_attn", &block.attn.c_attn),
                ("attn.c_proj", &block.attn.c_proj),
                ("mlp.c_fc", &block.mlp.c_fc),
                ("mlp.c_proj", &block.mlp.c_proj),
            ];
            layers.map(|(name, layer)| (format!("h.{i}.{name}"), layer))
        });
        blocks.chain(self.lm_head.as_ref().map(|head| ("lm_head".to_owned(), head))).collect()
    }

    fn train_outliers(self) -> Self {
        infallible(self.map_layers(|_, layer| Ok(layer.train_outliers()), |_, norm| Ok(norm)))
    }

    fn materialised(&self) -> PlainGpt2 {
        let plain = |_: &str, layer: OrthoLinear| Ok(layer.materialised());
        infallible(self.clone().map_layers(plain, |_, norm| Ok(norm)))
    }
}

fn infallible<T>(result: Result<T, std::convert::Infallible>) -> T {
    match result {
        Ok(it) => it,
    }
}

/// The names of a layer's place, once each, and in how many blocks it is.
pub(crate) fn no_such_layer(name: &str, names: &[&str]) -> OrthoError {
    let in_block = |name: &&str| -> Option<(usize, String)> {
        let (block, rest) = name.strip_prefix("h.")?.split_once('.')?;
        Some((block.parse().ok()?, format!("`h.N.{rest}`")))
    };
    let (mut places, mut blocks) = (Vec::new(), 0);
    for name in names {
        let place = match in_block(name) {
            Some((block, place)) => {
                blocks = blocks.max(block + 1);
                place
            }
            None => format!("`{name}`"),
        };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let expected = format!("one of {} with N below {blocks}", places.join(", "));
    OrthoError::NoSuchLayer { name: name.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int, Tensor, TensorData};
    use counter_rng::Key;
    use gpt2_model::{Gpt2Config, parameters, read};

    use super::*;
    use crate::{Matrix, Signals, SplitConfig};

    fn plain(device: &Device) -> PlainGpt2 {
        let config = Gpt2Config {
            vocab_size: 11,
            n_positions: 8,
            n_embd: 8,
            n_layer: 2,
            n_head: 2,
            ..Gpt2Config::default()
        };
        PlainGpt2::random(&config, Key::from_seed(5), device).unwrap()
    }

    /// A base of 4 bits with half of the weights in the outliers, of two layers.
    fn splits(model: &PlainGpt2) -> BTreeMap<String, Split> {
        let text = "base = { kind = \"int4\" }\nselection = { kind = \"magnitude\", ratio = 0.5 }";
        let config: SplitConfig = toml::from_str(text).unwrap();
        let names = ["h.0.attn.c_attn", "h.1.mlp.c_proj"];
        let is_split = |name: &str| names.iter().any(|it| name == format!("{it}.weight"));
        let weights = read(model, is_split).unwrap();
        let splits = weights.into_iter().map(|(name, data)| {
            let values: Vec<f32> = data.try_to_vec().unwrap();
            let weights = Matrix::new(&values, [data.shape()[0], data.shape()[1]]).unwrap();
            let reference = config.reference(weights).unwrap();
            let split = config.split(&reference, &Signals::of(reference.matrix())).unwrap();
            (name.strip_suffix(".weight").unwrap().to_owned(), split)
        });
        splits.collect()
    }

    fn logits(model: &impl Fn(Tensor<2, Int>) -> Tensor<3>) -> Vec<f32> {
        let tokens = TensorData::new(vec![1_i64, 4, 10, 0, 3, 7], [2, 3]);
        model(Tensor::from_data(tokens, &Device::default())).into_data().try_to_vec().unwrap()
    }

    #[test]
    fn both_streams_of_a_model() {
        let plain = plain(&Device::default());
        let splits = splits(&plain);
        let model = OrthoGpt2::with_splits(plain.clone(), &splits).unwrap();
        let names: Vec<String> = parameters(&model).into_iter().map(|it| it.name).collect();
        assert!(names.contains(&"h.0.attn.c_attn.outliers.values".to_owned()), "{names:?}");
        assert_eq!(names.iter().filter(|it| it.contains("outliers")).count(), 2);
        let stored = logits(&|x| model.logits(x));
        let is_close = |a: &[f32], b: &[f32]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6)
        };
        assert!(is_close(&logits(&|x| model.materialised().logits(x)), &stored));
        model.set_privacy(true);
        let base = logits(&|x| model.logits(x));
        assert_eq!(logits(&|x| model.materialised().logits(x)), base); // the same products
        assert!(!is_close(&base, &stored));
        model.set_alpha(Alpha::STORED);
        assert_eq!(logits(&|x| model.logits(x)), stored);
        // One layer alone, also by way of a clone.
        model.clone().layer("h.0.attn.c_attn").unwrap().set_privacy(true);
        let alphas: Vec<f32> = model.streams().iter().map(|it| it.1.alpha().get()).collect();
        assert_eq!(alphas, [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert!(!is_close(&logits(&|x| model.logits(x)), &stored));
        let weights = read(&model.materialised(), |name| name == "h.1.mlp.c_proj.weight").unwrap();
        let weights: Vec<f32> = weights[0].1.clone().try_to_vec().unwrap();
        assert_eq!(weights, splits["h.1.mlp.c_proj"].materialise(Alpha::STORED));
    }

    #[test]
    fn outliers_are_trained_alone() {
        let plain = plain(&Device::default().autodiff());
        let model = OrthoGpt2::with_splits(plain.clone(), &splits(&plain)).unwrap();
        let trained = |model: &OrthoGpt2| {
            let layers = model.streams().into_iter().map(|it| it.1.outliers.clone());
            let outliers = layers.flatten().filter(|it| it.values.is_require_grad()).count();
            (outliers, model.wte.weight.is_require_grad(), model.ln_f.gamma.is_require_grad())
        };
        assert_eq!(trained(&model), (0, false, false));
        assert_eq!(trained(&model.train_outliers()), (2, false, false));
    }

    #[test]
    fn layers_that_are_none() {
        let plain = plain(&Device::default());
        let mut splits = splits(&plain);
        let model = OrthoGpt2::with_splits(plain.clone(), &splits).unwrap();
        let expected = "`h.2.attn.c_attn` is no linear layer of the model, expected one of \
             `h.N.attn.c_attn`, `h.N.attn.c_proj`, `h.N.mlp.c_fc`, `h.N.mlp.c_proj` with N below 2";
        assert_eq!(model.layer("h.2.attn.c_attn").unwrap_err().to_string(), expected);
        let split = splits.remove("h.0.attn.c_attn").unwrap();
        splits.insert("h.2.attn.c_attn".to_owned(), split.clone());
        let error = OrthoGpt2::with_splits(plain.clone(), &splits).unwrap_err();
        assert_eq!(error.to_string(), expected);
        splits.insert("h.1.mlp.c_proj".to_owned(), split);
        let error = OrthoGpt2::with_splits(plain, &splits).unwrap_err().to_string();
        let expected = "the split of `h.1.mlp.c_proj` is [8, 24], expected [32, 8] as the layer";
        assert_eq!(error, expected);
    }
}
