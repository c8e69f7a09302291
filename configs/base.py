"""The paper's recipe, and the place where every field is declared with its default and unit.

    python -m train.main --model=large --dataset=imagenet2012 --tpu=NAME --workdir=runs/large

Batch 4096, 600 epochs of ImageNet on a 4×4 TPU pod; expected top-1 (Paper: Table 3): Large 75.2,
Small 67.4. Not run by us from end to end: no machine of ours trains ImageNet.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The default config; other files change values of it, none adds a field."""
    c = ConfigDict()
    c.task = 'classification'
    c.seed = 0  # of weights, order, augmentation and dropout; the same seed gives the same run

    c.model = ConfigDict()
    c.model.name = 'large'  # a name of mobilenet_v3.SPECS, or a spec file (.json)
    c.model.multiplier = 1.0  # width multiplier α
    c.model.resolution = (224, 224)  # height and width in pixels
    c.model.input_channels = 3  # 3 (RGB) or 1 (grey)
    c.model.dropout = 0.2  # rate; the paper's "dropout of 0.8" keeps 0.8 (§6.1.1)

    c.init = _init()

    c.data, c.augment = _data(), _augment()

    c.train = _train()
    c.optimizer, c.schedule = _optimizer(), _schedule()

    c.ema = ConfigDict()
    c.ema.decay = 0.9999  # of weights and BN statistics, reached by (1 + step) / (10 + step)

    c.finetune, c.distill, c.quantize = _finetune(), _distill(), _quantize()
    c.detection, c.segmentation = _detection(), _segmentation()

    c.eval = ConfigDict()
    c.eval.batch_size = 1024  # global
    c.eval.every_epochs = 10.0
    # Early stopping: evaluations of the averaged weights without a better one after which the run
    # ends, and its best weights count; 0: it runs to its end, and the last ones count.
    c.eval.patience = 0

    c.checkpoint = ConfigDict()
    c.checkpoint.every_epochs = 1.0
    c.checkpoint.keep = 3

    c.log_every_steps = 100
    # What a loss that is NaN or infinite does: stop, or rollback to the last checkpoint and go on
    # from there with a lower learning rate.
    c.on_nan = 'stop'
    c.divergence = _divergence()
    c.lock()
    return c


def _divergence() -> ConfigDict:
    """When on_nan is done, and how; see train/divergence.py."""
    c = ConfigDict()
    # In a row whose loss is NaN or infinite; one of them counts as all of train.steps_per_execution.
    c.patience_steps = 1
    c.rate_factor = 0.5  # of the learning rate, by each rollback
    c.max_rollbacks = 3  # of a run; then it stops
    return c


def _init() -> ConfigDict:
    """Weights of elsewhere that a fresh run starts from; see train/weights."""
    c = ConfigDict()
    # keras:imagenet, a file (.h5, .keras, .safetensors, .pth, .tflite, .npz), a SavedModel, a TF1
    # checkpoint or the --workdir of a run; '' starts from random weights
    c.source = ''
    c.head = 'auto'  # auto keeps the logits where the classes fit; keep insists; drop
    c.weights = 'averaged'  # or raw, of a checkpoint that holds both
    c.definition = 'auto'  # of a PyTorch state dict: timm or timm_tf, which look the same
    # Of the images (pixels in [0, 1]) that the weights expect; () is what their definition has.
    c.mean, c.std = (), ()
    c.sha256 = ''  # of what was read; the run sets it
    c.network = ''  # checksum of the network that was asked for; the run sets it
    return c


def _data() -> ConfigDict:
    """Where examples come from, and what of them is bad."""
    c = ConfigDict()
    # TFDS name, folder:PATH, tfrecord:PATH or builtin:shapes; those of each task: train/data/source.py
    c.dataset = 'imagenet2012'
    c.data_dir = ''  # where TFDS keeps prepared datasets; '' is TFDS's own default
    c.background = False  # class 0 is a background that no image has: 1001 classes
    c.max_bad_fraction = 0.01  # of bad images or annotations; beyond it the run stops
    c.shuffle_buffer = 16384  # encoded examples; a smaller dataset is shuffled as a whole
    # Of TFDS and tfrecord: so many parts, each shuffled on its own, are read in turn. Hosts whose
    # number divides it read their own parts only. It determines the order, the hosts do not.
    c.streams = 1
    c.num_classes = 0  # of masks whose classes have no names; 0: as many as training uses
    c.ignore_label = 255  # number in a mask that is neither target nor mistake
    c.max_boxes = 100  # an image; shorter lists are padded to it, files with longer ones raise it
    return c


def _train() -> ConfigDict:
    """A step and how many of them; the loss of classification."""
    c = ConfigDict()
    c.batch_size = 4096  # global: over all replicas (§6.1.1: 128 a chip)
    # Parts in which a batch goes through the network, one after the other, for want of memory; their
    # gradients make one step. As under several replicas, each part has BN statistics of its own, and
    # detection and segmentation divide by its objects or pixels.
    c.parts = 1
    # BN statistics of all replicas together, which makes their steps those of one device, at the cost
    # of an exchange for each layer; otherwise each replica has its own, as the paper's 128 images have.
    c.sync_batch_norm = False
    c.epochs = 600.0  # the paper does not say; the released recipe trains for about 600
    c.label_smoothing = 0.1  # released recipe
    c.class_weights = ()  # of the loss, one a class; (): all alike
    c.balanced = False  # class_weights become those that make every class count alike
    c.weight_decay = 1e-5  # L2 on kernels but depthwise ones, with TF1's factor ½ (§6.1.1)
    c.precision = 'float32'  # or mixed_bfloat16, for TPU
    c.steps_per_execution = 1  # steps in one call of the device; 100 and more on TPU
    return c


def _augment() -> ConfigDict:
    """Inception preprocessing (Paper: §6.1.1; its code for the numbers)."""
    c = ConfigDict()
    c.area = (0.05, 1.0)  # of the image, of the random crop
    c.aspect = (3 / 4, 4 / 3)  # width / height of the random crop
    c.flip = True  # left to right, every second image
    c.color = 'fast'  # none, fast (brightness, saturation) or full (and hue, contrast)
    c.randaugment_layers = 0  # changes an image (arXiv:1909.13719); 0: none
    c.randaugment_magnitude = 9.0  # of the changes, in [0, 10]
    c.mixup = 0.0  # α of Beta(α, α), by which images are blended (arXiv:1710.09412); 0: none
    c.eval_crop = 0.875  # side of the central crop in evaluation, fraction of the image
    c.boxes, c.masks = _box_augment(), _mask_augment()
    return c


def _box_augment() -> ConfigDict:
    """Crops of detection, as SSD draws them (arXiv:1512.02325, §2.2; its code for the numbers)."""
    c = ConfigDict()
    c.crop = 0.85  # share of the images that are cropped
    c.covered = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # of some box by the crop, one drawn for each
    c.area = (0.1, 1.0)  # of the image, of the crop
    c.aspect = (0.5, 2.0)  # width / height of the crop
    # Largest side of a grey canvas, in sides of the image, on which every second image lies
    # somewhere instead of being cropped; 1: none.
    c.expand = 1.0
    c.min_side = 2.0  # pixels of the network's image; smaller boxes are dropped
    return c


def _mask_augment() -> ConfigDict:
    """Scales of segmentation (Paper: §6.4; the released code of DeepLab for the numbers)."""
    c = ConfigDict()
    c.scale = (0.5, 2.0)  # of an image before it is cropped
    c.scale_step = 0.25  # between the scales that are drawn; 0: any between
    return c


def _optimizer() -> ConfigDict:
    """RMSProp as in TF1 (Paper: §6.1.1), or momentum for detection and segmentation."""
    c = ConfigDict()
    c.kind = 'rmsprop'  # or momentum, which has neither rho nor epsilon
    c.momentum = 0.9
    c.rho = 0.9  # decay of the mean square
    # Inside the root. The paper omits it and the learning rate means nothing without it: this is the
    # released TPU recipe's.
    c.epsilon = 0.002
    return c


def _schedule() -> ConfigDict:
    """The learning rate (Paper: §6.1.1)."""
    c = ConfigDict()
    c.kind = 'exponential'  # exponential, cosine or poly
    c.learning_rate = 0.1  # at `base_batch_size`; scaled linearly with the batch (§6.1.1)
    c.base_batch_size = 4096
    c.warmup_epochs = 5.0  # linear from 0
    # "learning rate decay rate of 0.01 every 3 epochs" is × 0.99 (§6.1.1).
    c.decay = 0.99
    c.decay_epochs = 3.0
    c.power = 0.9  # of what is left of the run, with poly (as segmentation is trained)
    return c


def _finetune() -> ConfigDict:
    """Of a network that is trained already; see configs/finetune.py."""
    c = ConfigDict()
    # (epoch, stage), …: the first stage, from the input on, that learns from that epoch on. Stages
    # are stem, bneck_1, …, last, features, head. (): everything learns from the start.
    c.unfreeze = ()
    c.backbone_rate = 1.0  # of the learning rate, of every stage but the head
    c.stage_decay = 1.0  # and once more for each stage, from the head down to the stem
    c.freeze_batch_norm = False  # statistics, scales and offsets as they were, but of the head
    return c


def _distill() -> ConfigDict:
    """Learning from a teacher, too; see train/distill.py."""
    c = ConfigDict()
    c.weight = 0.0  # of the teacher in the loss, in [0, 1]; the labels get the rest
    # --workdir of the run that teaches; of quantization-aware training the float network does
    c.teacher = ''
    c.on = 'logits'  # or features: which images the network finds alike
    c.temperature = 1.0  # both answers are divided by it
    c.source = ''  # checksum of the teacher's weights; the run sets it
    return c


def _quantize() -> ConfigDict:
    """See configs/quantize.py."""
    c = ConfigDict()
    c.calibration_images = 400  # of the training set, for the ranges of activations
    c.search_images = 64  # of these, for what ranges cost the loss; 0: extremes
    c.observe_epochs = 0.0  # in which training moves the ranges; then they are frozen
    c.observer_decay = 0.99  # a step, of the moving average of each batch's extremes
    # The learning rate shrinks with the training set below so many images: it forgets the others.
    c.full_rate_images = 10_000
    c.source = ''  # checksum of the float weights to start from; the export sets it
    return c


def _detection() -> ConfigDict:
    """SSDLite (Paper: §6.3; its released config for the numbers); see configs/detection.py."""
    c = ConfigDict()
    c.halve_tail = False  # half the channels between C4 and C5: the rows † of Table 6
    c.extras = (512, 256, 256, 128)  # channels of the feature maps after C5, at α = 1
    # Sides of the square anchors of the first and the last feature map, fractions of the image's
    # shorter side, and width / height of the others.
    c.min_scale, c.max_scale = 0.2, 0.95
    c.aspect_ratios = (1.0, 2.0, 0.5, 3.0, 1 / 3)
    c.reduced_first = True  # three anchors a cell of the first feature map instead of six
    c.match_iou = 0.5  # intersection over union from which on an anchor learns an object
    c.focal_alpha = 0.75  # weight of what is to be found; the rest weighs 1 - α
    c.focal_gamma = 2.0  # power with which easy decisions lose their weight
    c.box_weight = 1.0  # of the boxes in the loss, beside the classes
    c.score_threshold = 1e-8  # probability that a detection needs
    c.nms_iou = 0.6  # intersection over union above which the worse of two detections is left out
    return c


def _segmentation() -> ConfigDict:
    """LR-ASPP and R-ASPP (Paper: §6.4, Fig. 10); rows of Tables 7 and 8: configs/segmentation.py."""
    c = ConfigDict()
    c.kind = 'lr_aspp'  # or r_aspp
    c.filters = 128  # channels F of the head; 256 in other rows
    # Of LR-ASPP: means of large windows, or global: one mean, which an int8 file runs in one piece.
    c.pooling = 'paper'
    c.dropout = 0.1  # rate before the logits of R-ASPP
    c.output_stride = 16  # of the backbone, by atrous convolution: 32, 16 or 8
    c.halve_tail = False  # half the channels of the last blocks: RF2
    # Height and width of what training sees of a scaled image; (): model.resolution, at which whole
    # images are evaluated, and for which the network is exported.
    c.crop = ()
    return c
