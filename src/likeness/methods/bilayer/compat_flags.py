"""The fork's flags by what becomes of them here."""

RENAMED = {
    "num_epochs": "epochs",
    "random_seed": "seed",
    "num_gpus": "devices",
    "num_workers_per_process": "workers",
    "checkpoint_freq": "save_every",
    "test_freq": "validate_every",
    "metrics_log_rate": "log_every",
    "images_log_rate": "images_every",
    "save_initial_test_before_training": "validate_first",
    "pix_loss_weights": "pix_loss_weight",
    "seg_loss_weights": "seg_loss_weight",
    "augment_with_general_ratio": "general_ratio",
    "root_to_yaws": "yaw_root",
}
"""Flags with the same meaning under another name."""

SAME = frozenset(
    """experiment_dir experiment_name data_root batch_size image_size init_experiment_dir
    save_dataset_filenames unfreeze_texture_generator_last_layers unfreeze_inference_generator_last_layers
    calc_stats stats_calc_iters num_visuals num_source_frames num_target_frames
    mask_source_and_target cutoff_shirt stickmen_thickness adam_beta1 bn_momentum adv_pred_type adv_loss_weight
    fem_loss_type fem_loss_weight per_pooling pix_loss_type seg_loss_type wpr_loss_weight wpr_loss_weight_decay
    wpr_loss_decay_schedule abs_min_yaw abs_max_yaw
    emb_num_channels emb_max_channels emb_output_tensor_size emb_apply_masks emb_no_stickman tex_num_channels
    tex_max_channels tex_input_tensor_size pse_num_channels pse_num_blocks pse_use_harmonic_enc pse_num_harmonics
    inf_num_channels inf_max_channels inf_input_tensor_size inf_apply_masks dis_num_channels dis_max_channels
    dis_num_blocks dis_output_tensor_size dis_no_stickman enh_num_channels enh_max_channels enh_bottleneck_tensor_size
    enh_num_blocks enh_unrolling_depth enh_guiding_rgb_loss_type enh_apply_masks""".split()
)
"""Flags that keep their name."""

BOOLEAN = frozenset(
    """emb_apply_masks emb_no_stickman pse_use_harmonic_enc inf_apply_masks dis_no_stickman enh_apply_masks calc_stats
    save_dataset_filenames mask_source_and_target cutoff_shirt unfreeze_texture_generator_last_layers
    unfreeze_inference_generator_last_layers save_initial_test_before_training""".split()
)
"""Of these, the ones that may stand alone or before True or False."""

LISTS = frozenset(("init_networks", "frozen_networks", "networks_to_train", "spn_networks"))
"""Names separated by commas."""

ONLY = {
    "emb_norm_layer_type": "none",
    "emb_activation_type": "leakyrelu",
    "emb_downsampling_type": "avgpool",
    "tex_norm_layer_type": "ada_spade_bn",
    "tex_pixelwise_bias_type": "none",
    "tex_activation_type": "leakyrelu",
    "tex_upsampling_type": "nearest",
    "tex_skip_layer_type": "ada_conv",
    "texture_output_dim": "3",
    "pse_norm_layer_type": "none",
    "pse_activation_type": "leakyrelu",
    "inf_norm_layer_type": "ada_bn",
    "inf_pred_segmentation": "True",
    "inf_upsampling_type": "nearest",
    "inf_skip_layer_type": "ada_conv",
    "inf_activation_type": "leakyrelu",
    "dis_norm_layer_type": "bn",
    "dis_activation_type": "leakyrelu",
    "dis_downsampling_type": "avgpool",
    "enh_norm_layer_type": "none",
    "enh_activation_type": "leakyrelu",
    "enh_downsampling_type": "avgpool",
    "enh_upsampling_type": "nearest",
    "enh_detach_inputs": "True",
    "use_unet": "False",
    "use_source_background": "False",
    "replace_Gtex_output_with_trainable_tensor": "False",
    "replace_Gtex_output_with_source": "False",
    "replace_source_specific_with_trainable_tensors": "False",
    "rebalance": "False",
    "num_keypoints": "68",
    "output_segmentation": "True",
    "output_stickmen": "True",
    "spn_layers": "conv2d,linear",
    "spn_exceptions": "",
    "eps": "1e-7",
    "wgv_mode": "none",
    "lps_calc_grad": "False",
    "ssm_calc_grad": "False",
}
"""Flags with one value that is built; another one is refused rather than quietly not done."""

PREFIXES = frozenset(("emb_", "tex_", "pse_", "inf_", "dis_", "enh_"))
VARIANTS = frozenset(
    """texture_output_dim num_keypoints use_unet use_source_background replace_Gtex_output_with_trainable_tensor
    replace_Gtex_output_with_source replace_source_specific_with_trainable_tensors""".split()
)
"""Beginnings and whole names of those that decide what the networks compute."""

DROPPED = {
    "pse_in_channels": "it follows from the landmarks (136) and the harmonic encoding",
    "pse_emb_source_pose": "the enhancer stage always embeds the source pose, the base stage has no use for it",
    "inf_pred_source_data": "the enhancer stage always predicts the source, the base stage has no use for it",
    "inf_calc_grad": "gradients follow from the stage",
    "networks_train": "the order of the networks follows from the stage",
    "networks_test": "the order of the networks follows from the stage",
    "networks_calc_stats": "statistics are taken of all base networks",
    "runner_name": "there is one training loop",
    "metrics_freq": "measures are taken at every validation",
    "num_metrics_images": "measures are taken of every validation pair",
    "skip_metrics": "measures are named by --measures",
    "metrics_root": "give --data-root with phase metrics",
    "time_networks": "steps a second are always logged",
    "project_dir": "results go to --experiment-dir",
    "torch_home": "weights are given by path",
    "dis_fake_imgs_name": "the stage's own prediction is judged",
    "pix_loss_apply_to": "the low-frequency layer and the target; --pix-full-loss-weight adds the whole picture",
    "pix_loss_names": "the term is G_L1",
    "seg_loss_apply_to": "the mask logits and the target's mask",
    "seg_loss_names": "the term is G_BCE",
    "per_loss_apply_to": "the stage's own prediction and the target",
    "per_loss_type": "the absolute difference",
    "per_full_net_names": "VGG19 and the VGG16 face network",
    "per_net_layers": "the five published levels",
    "per_layer_weights": "the five published weights",
    "per_loss_names": "VGG19 and the VGG16 face network",
    "wpr_loss_apply_to": "the UV offsets",
    "psnr_loss_apply_to": "the prediction and the target",
    "lps_apply_to": "the prediction and the target",
    "csm_apply_to": "the prediction and the target",
    "ssm_apply_to": "the prediction and the target",
    "dataset_name": "never had an effect",
    "debug": "never had an effect here",
    "lps_net": "LPIPS has VGG16",
    "lps_model": "LPIPS has its linear calibration",
    "csm_model": "CSIM has ArcFace where its weights are given",
    "nme_num_threads": "landmarks are found one picture after another",
    "unet_inputs": "that variant is not built",
    "unet_input_channels": "that variant is not built",
    "unet_output_channels": "that variant is not built",
    "wgv_momentum": "weights are not averaged",
    "amp_loss_scale": "bfloat16 needs no loss scale",
    "use_closure": "served LBFGS alone",
    "no_disk_write_ops": "results are always written",
    "redirect_print_to_file": "redirect it in the shell",
    "rank": "torchrun says it",
    "local_rank": "torchrun says it",
    "world_size": "torchrun says it",
}
"""Flags with no counterpart, and why."""

LOSSES = {
    "adversarial": ("adv_loss_weight",),
    "feature_matching": ("fem_loss_weight",),
    "perceptual": ("per_vgg19_weight", "per_vggface_weight", "per_random_weight"),
    "pixelwise": ("pix_loss_weight",),
    "segmentation": ("seg_loss_weight",),
    "warping_regularizer": ("wpr_loss_weight",),
}
"""A name in `losses_train` -> the weights of its terms."""

MEASURES = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "lpips": "lpips",
    "csim": "csim",
    "pose_matching": "pose_matching",
    "pose_matching_metric": "pose_matching",
}
"""A name in `losses_test` or `metrics` -> ours."""

SPECIAL = frozenset(
    """which_epoch init_which_epoch lrs optims frame_num_from_paper same_source_and_target dataloader_name
    train_dataloader_name test_dataloader_name skip_test visual_freq dataset_load_from_txt train_load_from_filename
    test_load_from_filename general_data_root augment_with_general augmentation_by_general sample_general_dataset
    use_dropout dropout_networks pretrained_weights_dir per_loss_weights losses_train losses_test metrics folder_postfix
    use_half use_apex amp_opt_level""".split()
)
"""Flags that become something else."""

KNOWN = SAME | LISTS | SPECIAL | RENAMED.keys() | ONLY.keys() | DROPPED.keys()
