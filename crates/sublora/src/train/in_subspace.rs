//! Training the coordinates of a subspace, by themselves or through their quantiser.
//!
//! # Definition
//! One step of S. Lotfi et al. (arXiv:2312.17173), with the projection once per optimiser step:
//! the weights are $\theta_0 + P\alpha$, leaves of the graph; their gradient $g$ is accumulated over
//! the micro-batches and pulled back, $g_\alpha = P^\top g$; `AdamW` moves $\alpha$.
//!
//! Quantisation-aware, the weights are $\theta_0 + P c_{z(\alpha)}$ with $z$ the nearest centroid. The
//! gradient passes straight through to $\alpha$, and centroid $k$ receives the sum over its members.
//! Everything that the quantised vector depends on is in the optimiser.

use adapters::LoraGpt2;
use burn::module::{Module, Param, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use gpt2_model::host;
use quantizers::qat;

use super::Parameters;
use super::direct::{adam_w, restored, stored};
use crate::Error;
use crate::config::TrainConfig;
use crate::subspace::Subspace;

/// The trained numbers, as an optimiser wants them.
#[derive(Module, Debug)]
struct Coordinates {
    /// `[d]`.
    alpha: Param<Tensor<1>>,
    /// `[levels]`, while training through the quantiser.
    centroids: Option<Param<Tensor<1>>>,
}

/// `AdamW` on the coordinates of a [`Subspace`].
pub struct InSubspace {
    subspace: Subspace,
    coordinates: Coordinates,
    optimizer: ModuleOptimizer,
    clip: f64,
    device: Device,
}

impl InSubspace {
    /// Starts at the origin, so that the first model is the base.
    pub fn new(subspace: Subspace, config: &TrainConfig, device: &Device) -> Self {
        let alpha = vec![0.0; subspace.dimension()];
        Self::at(subspace, &alpha, None, config, device)
    }

    /// Starts at `alpha`, `[d]`, seen through `centroids`. Neither decays: a centroid is no weight,
    /// and shrinking $\alpha$ would fight the codebook.
    pub fn through_quantiser(
        subspace: Subspace,
        alpha: &[f32],
        centroids: &[f32],
        config: &TrainConfig,
        device: &Device,
    ) -> Self {
        let config = TrainConfig { weight_decay: 0.0, ..config.clone() };
        Self::at(subspace, alpha, Some(centroids), &config, device)
    }

    fn at(
        subspace: Subspace,
        alpha: &[f32],
        centroids: Option<&[f32]>,
        config: &TrainConfig,
        device: &Device,
    ) -> Self {
        let (device, tracked) = (device.clone().inner(), device.clone().autodiff());
        let param = |id: u64, values: &[f32]| {
            Param::initialized(
                ParamId::from(id),
                Tensor::from_floats(values, &tracked).require_grad(),
            )
        };
        let coordinates =
            Coordinates { alpha: param(1, alpha), centroids: centroids.map(|it| param(2, it)) };
        let optimizer = adam_w(config.weight_decay);
        Self { subspace, coordinates, optimizer, clip: config.clip, device }
    }

    /// The coordinates, `[d]`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn alpha(&self) -> Result<Vec<f32>, Error> {
        floats(self.coordinates.alpha.val())
    }

    /// The learned centroids, `[levels]` in any order, if there are any.
    ///
    /// # Errors
    /// If the device fails.
    pub fn centroids(&self) -> Result<Option<Vec<f32>>, Error> {
        self.coordinates.centroids.as_ref().map(|it| floats(it.val())).transpose()
    }

    /// Hands the subspace back.
    pub fn into_subspace(self) -> Subspace {
        self.subspace
    }

    /// Puts the weights that the coordinates stand for into `model`.
    ///
    /// # Errors
    /// If the device fails, or a coordinate has become infinite.
    pub fn place(&self, model: LoraGpt2) -> Result<LoraGpt2, Error> {
        let alpha = self.alpha()?;
        Ok(match self.centroids()? {
            None => self.subspace.place(model, &alpha),
            Some(centroids) => {
                let symbols = qat::nearest(&alpha, &centroids)?;
                self.subspace.place(model, &qat::gather(&symbols, &centroids))
            }
        })
    }
}

impl Parameters for InSubspace {
    #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
    fn step(
        &mut self,
        model: LoraGpt2,
        grads: GradientsParams,
        learning_rate: f64,
    ) -> Result<LoraGpt2, Error> {
        let alpha = self.subspace.pull_back(&model, &grads)?;
        let centroids = match self.centroids()? {
            None => Vec::new(),
            Some(centroids) => {
                let symbols = qat::nearest(&self.alpha()?, &centroids)?;
                qat::centroid_gradient(&symbols, &alpha, centroids.len())
            }
        };
        let squares = alpha.iter().chain(&centroids).map(|&it| f64::from(it).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        let factor = if norm > self.clip { (self.clip / norm) as f32 } else { 1.0 };
        let tensor = |values: Vec<f32>| {
            let values: Vec<f32> = values.iter().map(|value| value * factor).collect();
            Tensor::<1>::from_floats(values.as_slice(), &self.device)
        };
        let mut pulled = GradientsParams::new();
        pulled.register(self.coordinates.alpha.id, tensor(alpha));
        if let Some(param) = &self.coordinates.centroids {
            pulled.register(param.id, tensor(centroids));
        }
        self.coordinates = self.optimizer.step(learning_rate, self.coordinates.clone(), pulled);
        self.place(model)
    }

    fn values(&self, _model: &LoraGpt2) -> Result<Vec<(String, Vec<f32>)>, Error> {
        let mut values = vec![("alpha".to_owned(), self.alpha()?)];
        values.extend(self.centroids()?.map(|it| ("centroids".to_owned(), it)));
        Ok(values)
    }

    fn restore(
        &mut self,
        model: LoraGpt2,
        values: &[(String, Vec<f32>)],
        optimizer: Option<&[u8]>,
    ) -> Result<LoraGpt2, Error> {
        let find = |name: &str, len: usize| {
            let value = values.iter().find(|(it, values)| it == name && values.len() == len);
            value
                .map(|(_, values)| {
                    Tensor::from_floats(values.as_slice(), &self.device.clone().autodiff())
                        .require_grad()
                })
                .ok_or_else(|| {
                    Error::Mismatch(format!("the checkpoint holds no `{name}` of {len} numbers"))
                })
        };
        let alpha = find("alpha", self.subspace.dimension())?;
        let centroids = match &self.coordinates.centroids {
            Some(param) => {
                let value = find("centroids", param.val().dims()[0])?;
                Some(Param::initialized(param.id, value))
            }
            None => None,
        };
        let alpha = Param::initialized(self.coordinates.alpha.id, alpha);
        self.coordinates = Coordinates { alpha, centroids };
        if let Some(bytes) = optimizer {
            self.optimizer = restored(self.optimizer.clone(), bytes)?;
        }
        self.place(model)
    }

    fn optimizer(&self) -> Result<Vec<u8>, Error> {
        stored(&self.optimizer)
    }
}

fn floats(tensor: Tensor<1>) -> Result<Vec<f32>, Error> {
    Ok(host(tensor.inner())?.iter::<f32>().collect())
}
