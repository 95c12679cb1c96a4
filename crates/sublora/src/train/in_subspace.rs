//! Training the coordinates of a subspace and the gates of its allocation, by themselves or through
//! their quantiser.
//!
//! # Definition
//! One step of S. Lotfi et al. (arXiv:2312.17173), with the projection once per optimiser step:
//! the weights are $\theta_0 + P\alpha$, leaves of the graph; their gradient $g$ is accumulated over
//! the micro-batches and pulled back, $g_\alpha = P^\top g$; `AdamW` moves $\alpha$. The logits of gates
//! are moved by the same optimiser at a rate of their own and do not decay.
//!
//! Quantisation-aware, the weights are $\theta_0 + P c_{z(\alpha)}$ with $z$ the nearest centroid, and
//! every gate is what will be stored of it. The gradient passes straight through to $\alpha$, and
//! centroid $k$ receives the sum over its members. Everything that the stored model depends on is in
//! the optimiser.

use adapters::LoraGpt2;
use burn::module::{Module, Param, ParamGroup, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use gpt2_model::host;
use quantizers::qat;
use subspace_projectors::{Gates, Moment};

use super::direct::{adam_w, restored, stored};
use super::{At, Parameters};
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
    /// The logits, `[gates]`, if the allocation has any.
    gates: Option<Param<Tensor<1>>>,
}

/// The numbers of a model in a subspace: where training begins, or ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// $\alpha$, `[d]`.
    pub alpha: Vec<f32>,
    /// The logits of the gates, `[gates]`.
    pub logits: Vec<f32>,
}

/// `AdamW` on the coordinates of a [`Subspace`].
pub struct InSubspace {
    subspace: Subspace,
    coordinates: Coordinates,
    /// The weights that the gates give in the model as it is placed.
    gates: Gates,
    /// Of the weights at the last step, `[D]`; empty before the first.
    gradient: Vec<f32>,
    optimizer: ModuleOptimizer,
    clip: f64,
    gate_rate: f64,
    device: Device,
}

impl InSubspace {
    /// Starts at the origin, so that the first model is the base, with every gate at one half.
    pub fn new(subspace: Subspace, config: &TrainConfig, device: &Device) -> Self {
        let alpha = vec![0.0; subspace.dimension()];
        let logits = vec![0.0; subspace.allocated().gate_count()];
        Self::at(subspace, &Point { alpha, logits }, None, config, device)
    }

    /// Starts at `point`, seen through `centroids` and the code of its gates. Neither decays: a centroid
    /// is no weight, and shrinking $\alpha$ would fight the codebook. A `gate_rate` of 0 leaves the
    /// gates alone.
    pub fn through_quantiser(
        subspace: Subspace,
        point: &Point,
        centroids: &[f32],
        config: &TrainConfig,
        device: &Device,
    ) -> Self {
        let config = TrainConfig { weight_decay: 0.0, ..config.clone() };
        Self::at(subspace, point, Some(centroids), &config, device)
    }

    fn at(
        subspace: Subspace,
        point: &Point,
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
        let coordinates = Coordinates {
            alpha: param(1, &point.alpha),
            centroids: centroids.map(|it| param(2, it)),
            gates: (!point.logits.is_empty()).then(|| param(3, &point.logits)),
        };
        let group = ParamGroup::from_ids(vec![ParamId::from(3)]);
        let optimizer = ModuleOptimizer::from(adam_w(config.weight_decay).build()).with_group(
            group,
            adam_w(0.0).build(),
            None,
        );
        let moment = if centroids.is_some() { Moment::Coded } else { Moment::Training(0.0) };
        let gates = subspace.allocated().gates(&point.logits, moment);
        let (clip, gate_rate) = (config.clip, config.gate_rate);
        let gradient = Vec::new();
        Self { subspace, coordinates, gates, gradient, optimizer, clip, gate_rate, device }
    }

    /// What is trained, without the centroids.
    ///
    /// # Errors
    /// If the device fails.
    pub fn point(&self) -> Result<Point, Error> {
        let alpha = floats(self.coordinates.alpha.val())?;
        let logits = self.coordinates.gates.as_ref().map(|it| floats(it.val())).transpose()?;
        Ok(Point { alpha, logits: logits.unwrap_or_default() })
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

    /// The coordinates as the model has them: themselves, or the centroid of each.
    fn seen(&self) -> Result<Vec<f32>, Error> {
        let alpha = floats(self.coordinates.alpha.val())?;
        Ok(match self.centroids()? {
            None => alpha,
            Some(centroids) => qat::gather(&qat::nearest(&alpha, &centroids)?, &centroids),
        })
    }

    /// Puts the weights that the coordinates and the present gates stand for into `model`.
    ///
    /// # Errors
    /// If the device fails, or a coordinate has become infinite.
    pub fn place(&self, model: LoraGpt2) -> Result<LoraGpt2, Error> {
        Ok(self.subspace.place(model, &self.seen()?, &self.gates))
    }

    /// The moment after a share `progress` of the steps.
    fn moment(&self, progress: f64) -> Moment {
        match self.coordinates.centroids {
            None => Moment::Training(progress),
            Some(_) => Moment::Coded,
        }
    }

    fn turn_gates(&mut self, progress: f64) -> Result<(), Error> {
        let (logits, moment) = (self.point()?.logits, self.moment(progress));
        self.gates = self.subspace.allocated().gates(&logits, moment);
        Ok(())
    }

    /// Registers `values`, scaled to the norm that is allowed.
    fn clipped<const N: usize>(&self, values: [(ParamId, Vec<f32>); N]) -> GradientsParams {
        let squares = values.iter().flat_map(|(_, it)| it).map(|&it| f64::from(it).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
        let factor = if norm > self.clip { (self.clip / norm) as f32 } else { 1.0 };
        let mut grads = GradientsParams::new();
        for (id, values) in values.into_iter().filter(|(_, values)| !values.is_empty()) {
            let values: Vec<f32> = values.iter().map(|value| value * factor).collect();
            grads.register(id, Tensor::<1>::from_floats(values.as_slice(), &self.device));
        }
        grads
    }
}

impl Parameters for InSubspace {
    fn step(&mut self, model: LoraGpt2, grads: GradientsParams, at: At) -> Result<LoraGpt2, Error> {
        let gradient = self.subspace.gradient(&model, &grads)?;
        let (alpha, logits) =
            self.subspace.allocated().pull_back(&self.seen()?, &self.gates, &gradient);
        self.gradient = gradient;
        let centroids = match self.centroids()? {
            None => Vec::new(),
            Some(centroids) => {
                let symbols = qat::nearest(&self.point()?.alpha, &centroids)?;
                qat::centroid_gradient(&symbols, &alpha, centroids.len())
            }
        };
        let coordinates = self.coordinates.clone();
        let id =
            |param: &Option<Param<Tensor<1>>>| param.as_ref().map_or(ParamId::from(0), |it| it.id);
        let pulled = [(coordinates.alpha.id, alpha), (id(&coordinates.centroids), centroids)];
        let (pulled, gates) =
            (self.clipped(pulled), self.clipped([(id(&coordinates.gates), logits)]));
        // Two steps of one optimiser: each changes what it has a gradient of.
        let coordinates = self.optimizer.step(at.learning_rate, coordinates, pulled);
        let rate = at.learning_rate * self.gate_rate;
        self.coordinates =
            if rate > 0.0 { self.optimizer.step(rate, coordinates, gates) } else { coordinates };
        self.turn_gates(at.progress)?;
        self.place(model)
    }

    fn values(&self, _model: &LoraGpt2) -> Result<Vec<(String, Vec<f32>)>, Error> {
        let Point { alpha, logits } = self.point()?;
        let mut values = vec![("alpha".to_owned(), alpha)];
        values.extend(self.centroids()?.map(|it| ("centroids".to_owned(), it)));
        if !logits.is_empty() {
            values.push(("gates".to_owned(), logits));
        }
        Ok(values)
    }

    fn restore(
        &mut self,
        model: LoraGpt2,
        values: &[(String, Vec<f32>)],
        optimizer: Option<&[u8]>,
        progress: f64,
    ) -> Result<LoraGpt2, Error> {
        let find = |name: &str, param: &Param<Tensor<1>>| {
            let [len] = param.val().dims();
            let value = values.iter().find(|(it, values)| it == name && values.len() == len);
            let (_, value) = value.ok_or_else(|| {
                Error::Mismatch(format!("the checkpoint holds no `{name}` of {len} numbers"))
            })?;
            let device = self.device.clone().autodiff();
            let value = Tensor::from_floats(value.as_slice(), &device).require_grad();
            Ok::<_, Error>(Param::initialized(param.id, value))
        };
        let Coordinates { alpha, centroids, gates } = &self.coordinates;
        if gates.is_none() && values.iter().any(|(name, _)| name == "gates") {
            let reason = "the checkpoint holds gates, and this allocation has none";
            return Err(Error::Mismatch(reason.to_owned()));
        }
        self.coordinates = Coordinates {
            alpha: find("alpha", alpha)?,
            centroids: centroids.as_ref().map(|it| find("centroids", it)).transpose()?,
            gates: gates.as_ref().map(|it| find("gates", it)).transpose()?,
        };
        if let Some(bytes) = optimizer {
            self.optimizer = restored(self.optimizer.clone(), bytes)?;
        }
        self.turn_gates(progress)?;
        self.place(model)
    }

    fn optimizer(&self) -> Result<Vec<u8>, Error> {
        stored(&self.optimizer)
    }

    fn is_settled(&self, progress: f64) -> bool {
        self.subspace.allocated().is_settled(self.moment(progress))
    }

    fn observations(&self) -> Vec<(String, f64)> {
        let allocated = self.subspace.allocated();
        let mut observed = Vec::new();
        if let Some(gated) = &allocated.plan().gated {
            let shares = gated.groups.iter().zip(self.gates.shares());
            observed.extend(shares.map(|((group, _), share)| (format!("gate/{group}"), share)));
        }
        if !self.gradient.is_empty() {
            let sides = allocated.side_gradients(&self.gradient).into_iter();
            observed
                .extend(sides.map(|it| (format!("gradient_{}/{}", it.side, it.group), it.value)));
        }
        observed
    }
}

fn floats(tensor: Tensor<1>) -> Result<Vec<f32>, Error> {
    Ok(host(tensor.inner())?.iter::<f32>().collect())
}
