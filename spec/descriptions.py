"""What every key of a spec means, in one or two sentences, and what may stand there: texts for editors."""

from __future__ import annotations

from typing import Any

ANYWHERE = {
    "name": "Unique among the layers; any text without '.', '/' and control characters. It is the layer's "
    "identity: weights follow it.",
    "renamed_from": "The name under which the weights of this layer are still filed. Goes away when the next "
    "version is saved.",
    "op": "What the layer computes.",
    "note": "Any text; no edit touches it.",
    "width": "Neurons (channels) of this layer's output. May be edited by hand; the weights follow.",
    "kernel": "Side of the kernel in pixels, odd; padding is (kernel-1)/2. Holds for every leaf below.",
    "stride": "Step of the window in pixels.",
    "norm": "Normalisation behind every leaf below: batch, or none (then the site has a bias).",
    "act": "The activation.",
    "fixed": "true: the search neither grows nor shrinks this.",
    "shortcut": "The linear way beside the residual: true (a leaf), false (none: an ordinary two-layer "
    "network), identity (adds the residual to the stream that it reads; chain layers only), or settings of "
    "that one leaf.",
    "residual": "Present: neurons may live here, f(x) = shortcut(x) + second(act(first(x))). `{hidden: 0}` "
    "marks a layer that is open to neurons but has none yet.",
    "hidden": "Neurons between `first` and `second`. May be edited by hand; the weights follow.",
    "dropout": "Share of the hidden neurons dropped in training, behind the activation.",
    "scale": "Reserved; 1.",
    "first": "The node that leads into the hidden neurons.",
    "second": "The node that leads out of the hidden neurons.",
    "p": "Share dropped in training: whole channels of [C, H, W], single features of [F].",
    "init": "identity: the leaf begins as the identity, exactly.",
}
"""By key, whatever model it is in."""

BY_MODEL = {
    "Conv.act": "Activation of the layer's output; none by default.",
    "Dense.act": "Activation of the layer's output; none by default.",
    "Residual.act": "Activation of the hidden neurons.",
    "Dense.width": "Neurons of this layer's output. May be edited by hand; the weights follow.",
    "Conv.stride": "Step in pixels; it sits on the shortcut and on `first`.",
    "MaxPool.kernel": "Side of the window in pixels.",
    "AvgPool.kernel": "Side of the window in pixels.",
    "MaxPool.stride": "Step of the window in pixels; the kernel's size by default.",
    "AvgPool.stride": "Step of the window in pixels; the kernel's size by default.",
    "ShortcutLeaf.kernel": "Kernel of this one leaf.",
    "ShortcutLeaf.norm": "Normalisation behind this one leaf.",
    "Spec.format": "Number of the file format.",
    "Spec.name": "Name of the network.",
    "Spec.version": "Written by nhnas: the version of `state`. What a person writes here changes nothing.",
    "Spec.state": "Written by nhnas: the snapshot in .nhnas/ that the weights come from; absent: untrained.",
    "Spec.input": "Size of one sample: [features], or [channels, height, width].",
    "Spec.net": "The layers, in the order in which a sample passes them.",
    "Spec.data": "Which samples, from where.",
    "Spec.train": "How the weights are trained.",
    "Spec.search": "How `nhnas step` changes the architecture.",
    "Data.dataset": "A built-in set, or package.module:function of a module beside this file.",
    "Data.root": "Folder of the files, from this file's folder on; else $NHNAS_DATA, else data.",
    "Data.val": "Share of the training samples that is held out.",
    "Data.augment": "Random changes of training images: crop (pad 4), shift (2 pixels), flip, rotate (10°).",
    "Data.download": "true: fetch a built-in set that is not there.",
    "Data.workers": "Given: image files are decoded each time they are needed, by so many processes; 0: by "
    "the one that trains. Absent: decoded once, into memory, if there is room.",
    "Train.loss": "cross_entropy for classes, mse for values.",
    "Train.optimizer": "The optimizer; new neurons have ages of their own.",
    "Train.lr": "Learning rate; `nhnas step` holds it constant after the warm-up.",
    "Train.schedule": "Course of the learning rate in `nhnas train`.",
    "Train.betas": "Decay of Adam's two moments, a batch.",
    "Train.momentum": "Momentum of sgd.",
    "Train.nesterov": "true: Nesterov's momentum (sgd).",
    "Train.weight_decay": "L2 for adam and sgd, decoupled for adamw.",
    "Train.label_smoothing": "Share of the target spread over all classes.",
    "Train.average": "Share of the batches of `nhnas train`, at its end, whose weights are averaged.",
    "Train.batch": "Samples of a batch.",
    "Train.warmup": "Epochs of quadratic warm-up, at growth and at the start of fading.",
    "Train.warmup_for": "all: every neuron warms up; newcomers: each one once, by its age (not for sgd).",
    "Train.precision": "Precision of the matrix products.",
    "Train.compile": "true: torch.compile, once for each architecture; needs a C++ compiler.",
    "Train.evaluate": "true: test figures after every epoch, in the metrics; they decide nothing.",
    "Train.deterministic": "true: float32, one thread, nothing measured; the same bytes every time.",
    "Train.threads": "CPU threads; one or all, as measured, by default.",
    "Train.seed": "Seed of everything random.",
    "Search.add": "Neurons added a step, beside add_fraction.",
    "Search.add_fraction": "Neurons added a step, as a share of those that are there.",
    "Search.newcomers": "How incoming weights of added neurons begin (outgoing ones are zero): random; "
    "small, heard of a tenth; gradmax: in residuals, so that the gradient of the outgoing ones is largest.",
    "Search.add_to_remove": "Neurons added for each one removed; below 1 the network shrinks.",
    "Search.min_epochs": "Fewest epochs of training after growth.",
    "Search.max_epochs": "Most epochs of training after growth; it ends before where the loss is flat.",
    "Search.fade_epochs": "Epochs over which neurons that leave fade out.",
    "Search.settle_epochs": "Epochs of training after that.",
    "Search.threshold_min": "Neurons of at most this importance always leave (1: the mean of all).",
    "Search.threshold_max": "Neurons of more importance never leave (1: the mean of all).",
    "Search.random_remove": "Share of neurons that leave at random, on top.",
    "Search.flat": "Which test says that the loss is flat.",
    "Search.promote": "Which rule makes nodes non-linear.",
    "Search.drop_shortcut": "true: shortcuts of which little is heard fade out.",
    "Search.spread": "noisy: drawn, more of them where some stayed; even: as many new neurons to each site.",
    "Search.compare": "all: neurons are compared as they are; site: in units of the mean of their own site.",
    "Search.cost": "Importance per what: nothing, parameters, or multiply-accumulates of the neuron.",
    "Search.policy": "auto: how many neurons come and go, and a factor of the learning rate, follow from "
    "`target`; then add, add_fraction, add_to_remove and threshold_max are not used.",
    "Search.target": "What `policy: auto` steers at.",
    "Target.params": "Parameters to come to and to stay at, within 3%.",
    "Target.macs": "Multiply-accumulates for one sample to come to and to stay at, within 3%.",
    "Target.accuracy": "Once the held-out samples (`data.val`) reach it, the network shrinks while it holds.",
    "Search.schedule": "Other settings up to an epoch of the lineage: a list of {until: EPOCH, …}.",
}
"""Where a model's key means something of its own: `Model.key`."""

OPS = {
    "conv": "A node of convolutions.",
    "dense": "A node of matrices over features.",
    "activation": "An activation between layers.",
    "max_pool": "Maximum over windows; no padding, sizes round down.",
    "avg_pool": "Mean over windows; no padding, sizes round down.",
    "global_avg_pool": "[C, H, W] → [C].",
    "flatten": "[C, H, W] → [C·H·W].",
    "dropout": "Drops whole channels of [C, H, W], single features of [F].",
}

EXAMPLES: dict[str, list[Any]] = {
    "Dropout.p": [0.1, 0.25],
    "Spec.input": [[2], [3, 32, 32]],
    "Data.dataset": [
        "spirals",
        "regression2d",
        "mnist",
        "fashion_mnist",
        "cifar10",
        "cifar100",
        "image_folder",
        "package.module:function",
    ],
    "Data.augment": [["crop", "flip"]],
    "Data.val": [0.1],
    "Train.lr": [0.001, 0.1],
    "Train.weight_decay": [0.0005],
    "Search.random_remove": [0.05],
    "Search.target": [{"params": 130000}, {"params": 130000, "accuracy": 0.9}],
    "Search.schedule": [[{"until": 100, "add": 50, "lr": 0.0009}]],
}
"""Values to choose from where any is allowed: `Model.key`."""


def description(model: str, key: str) -> str:
    """The text of one key; KeyError where there is none."""
    return BY_MODEL.get(f"{model}.{key}") or ANYWHERE[key]


def examples(model: str, key: str) -> list[Any]:
    """Values of one key that an editor may offer; often none."""
    return EXAMPLES.get(f"{model}.{key}", [])
