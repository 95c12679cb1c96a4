//! The linear layers of a GPT-2 as matrices on the host, and back.

use std::collections::BTreeMap;

use gpt2_model::{PlainGpt2, assign, parameters, read};
use ortho_linear::{
    Alpha, Base, BaseKind, Change, Matrix, OrthoGpt2, Reference, Signals, Split, SplitConfig,
    Streams,
};
use subspace_projectors::Layout;

use crate::Error;
use crate::fisher::linear_layers;

/// The outliers of every layer.
pub(super) fn outliers(model: &OrthoGpt2) -> Result<Layout, Error> {
    let weights = parameters(model).into_iter().filter(|it| it.name.ends_with(".outliers.values"));
    Ok(Layout::new(weights.map(|it| (it.name, it.shape)))?)
}

/// A layer by its name, as it is stored.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) reference: Reference,
}

impl Layer {
    fn new(name: &str, values: &[f32], shape: &[usize], rule: &SplitConfig) -> Result<Self, Error> {
        let named = named(name);
        let &[d_in, d_out] = shape else {
            return Err(Error::Mismatch(format!("`{name}` is no matrix")));
        };
        let weights = Matrix::new(values, [d_in, d_out]).map_err(&named)?;
        let reference = rule.reference(weights).map_err(&named)?;
        Ok(Self { name: name.to_owned(), reference })
    }
}

/// The layers of `model` as `rule` stores them.
pub(super) fn stored(model: &PlainGpt2, rule: &SplitConfig) -> Result<Vec<Layer>, Error> {
    let layout = linear_layers(model)?;
    let found = read(model, |name| layout.tensor(name).is_some())?;
    let layers = found.iter().map(|(name, data)| {
        let values: Vec<f32> = data.iter::<f32>().collect();
        Layer::new(name, &values, data.shape().as_slice(), rule)
    });
    layers.collect()
}

/// Their weights.
pub(super) fn values(layers: &[Layer]) -> Vec<Vec<f32>> {
    layers.iter().map(|it| it.reference.matrix().values().to_vec()).collect()
}

/// `model` with `values` in the place of the weights of `layers`.
pub(super) fn with_values(model: &PlainGpt2, layers: &[Layer], values: Vec<Vec<f32>>) -> PlainGpt2 {
    let names = layers.iter().map(|it| it.name.as_str());
    let mut values: BTreeMap<&str, Vec<f32>> = names.zip(values).collect();
    assign(model.clone(), |name, _| values.remove(name))
}

/// An error of one of the layers.
fn named(name: &str) -> impl Fn(ortho_linear::OrthoError) -> Error + '_ {
    move |error| Error::Config(format!("`{name}`: {error}"))
}

/// Layers, each split in two.
pub(super) struct Splits {
    splits: Vec<Split>,
    /// Of all layers together, [`Change::captured`].
    pub(super) captured: f64,
}

impl Splits {
    /// What fine-tuning changed on a mask, from `before` to `after`, by a rule for each layer, which may
    /// ask for Fisher information.
    pub(super) fn new(
        before: &[Layer],
        after: &[Layer],
        fisher: Option<&[Vec<f32>]>,
        rule: impl Fn(&Layer) -> SplitConfig,
    ) -> Result<Self, Error> {
        let (mut splits, mut change) = (Vec::new(), Change::default());
        for (place, (before, after)) in before.iter().zip(after).enumerate() {
            let named = named(&after.name);
            let signals = Signals::of(after.reference.matrix());
            let signals = signals.with_pretrained(before.reference.matrix()).map_err(&named)?;
            let signals = match fisher.and_then(|it| it.get(place)) {
                Some(fisher) => signals.with_fisher(fisher).map_err(&named)?,
                None => signals,
            };
            let split = rule(after).split(&after.reference, &signals).map_err(&named)?;
            change += split.change(&after.reference, &before.reference).map_err(&named)?;
            splits.push(split);
        }
        Ok(Self { splits, captured: change.captured() })
    }

    /// Of all outlier streams.
    pub(super) fn outlier_bytes(&self) -> u64 {
        self.splits.iter().map(|it| it.outliers().bytes() as u64).sum()
    }

    /// `model` with these layers in two streams.
    pub(super) fn model(&self, model: PlainGpt2, layers: &[Layer]) -> Result<OrthoGpt2, Error> {
        let name = |layer: &Layer| layer.name.trim_end_matches(".weight").to_owned();
        let splits = layers.iter().map(name).zip(self.splits.iter().cloned()).collect();
        let model = OrthoGpt2::with_splits(model, &splits);
        model.map_err(|error| Error::Mismatch(error.to_string()))
    }

    /// The layers without what is on the masks.
    pub(super) fn base(&self, layers: &[Layer], rule: &SplitConfig) -> Result<Vec<Layer>, Error> {
        let base = |(layer, split): (&Layer, &Split)| {
            let base = split.base().matrix();
            Layer::new(&layer.name, base.values(), &base.shape(), rule)
        };
        layers.iter().zip(&self.splits).map(base).collect()
    }

    /// $B + \alpha O$ of each layer.
    pub(super) fn at(&self, alpha: Alpha) -> Vec<Vec<f32>> {
        self.splits.iter().map(|it| it.materialise(alpha)).collect()
    }
}

/// Layers, each quantised.
pub(super) struct Quantized(Vec<Base>);

impl Quantized {
    /// By a base kind.
    pub(super) fn new(layers: &[Layer], kind: &dyn BaseKind) -> Result<Self, Error> {
        let base = |it: &Layer| kind.encode(&it.reference).map_err(named(&it.name));
        Ok(Self(layers.iter().map(base).collect::<Result<_, _>>()?))
    }

    /// The weights of each layer.
    pub(super) fn values(&self) -> Vec<Vec<f32>> {
        self.0.iter().map(|it| it.matrix().values().to_vec()).collect()
    }

    /// Share of weights that have another code than in `from`, or, without codes, are other numbers.
    pub(super) fn moved(&self, from: &Self) -> Result<f64, Error> {
        let (mut moved, mut all) = (0_usize, 0_usize);
        for (ours, theirs) in self.0.iter().zip(&from.0) {
            let other = ours.moved(theirs);
            moved += other.map_err(|error| Error::Mismatch(error.to_string()))?;
            all += theirs.matrix().values().len();
        }
        Ok(moved as f64 / all.max(1) as f64)
    }
}
