"""Folders and tables that people have: each is read as they mean it, or refused with what to type.

One case a layout: what lies there, and either the images of each split and class, with what is told
about how it was read, or the refusal with its cure. Whatever `train` refuses, `check` finds.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regraft.data.sources import read_table
from regraft.errors import ConfigError, DataError, UsageError
from regraft.record.configuration import RunConfig
from regraft.workflows import survey
from regraft.workflows.learnable import refuse_unlearnable
from regraft.workflows.preparation import prepare, read

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
AB = {"ants": 2, "bees": 1}
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def each(*folders):
    """Two ants and a bee in each of these folders."""
    names = ("ants/1.jpg", "ants/2.jpg", "bees/3.jpg")
    return [f"{folder}/{name}".lstrip("/") for folder in folders for name in names]


def flat(folder, *names):
    return [f"{folder}/{name}".lstrip("/") for name in names or ("1.jpg", "2.jpg", "3.jpg")]


def text(*lines):
    return "\n".join(lines) + "\n"


@dataclass
class Case:
    """A layout with what becomes of it."""

    name: str
    images: list[str]
    counts: dict[Any, Any] | None = None
    told: str = ""
    refused: str = ""
    cure: str = ""
    files: dict[str, str | bytes] = field(default_factory=dict)
    give: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    left_out: str = ""


def lined(separator, *, header="path,label", folder="p/"):
    rows = [f"{folder}1.jpg,ants", f"{folder}2.jpg,ants", f"{folder}3.jpg,bees"]
    return text(*(row.replace(",", separator) for row in ([header] if header else []) + rows))


BOTH = {"train": AB, "test": AB}
ALL = {None: AB}
P = flat("p")
IMAGES = flat("images")
TABLE = text("file_name,label", "1.jpg,ants", "2.jpg,ants", "3.jpg,bees")
YOLO = "0 0.5 0.5 0.2 0.2\n"
COCO = '{"info": {}, "images": [], "annotations": [{"bbox": [1, 2, 3, 4]}], "categories": []}'

FOLDERS = [
    Case("classes", each(""), ALL),
    Case("classes called Class 1 and Class 2", [*flat("Class 1"), *flat("Class 2")],
         {None: {"Class 1": 3, "Class 2": 3}}),
    Case("splits", each("train", "test"), BOTH),
    Case("capitals", each("Training", "Testing"), BOTH),
    Case("Val and dev", each("TRAIN", "Val"), {"train": AB, "val": AB}),
    Case("valid", each("train", "valid", "test"), {"train": AB, "val": AB, "test": AB}),
    Case("seg_train and seg_test", each("seg_train", "seg_test"), BOTH, "'seg_train' is read as"),
    Case(
        "seg_train/seg_train, seg_pred",
        [*each("seg_train/seg_train", "seg_test/seg_test"), *flat("seg_pred/seg_pred")],
        BOTH, "'seg_test' is read as test", left_out="seg_pred",
    ),
    Case("training_set/training_set", each("training_set/training_set", "test_set/test_set"), BOTH,
         "'training_set' is read as train"),
    Case("images/Training", each("images/Training", "images/Testing"), BOTH),
    Case("Train Data", each("Train Data", "Test Data"), BOTH, "'Train Data' is read as train"),
    Case("train_images", each("train_images", "test_images"), BOTH, "'train_images' is read"),
    Case("TrainSet and trainset", each("TrainSet", "testset"), BOTH, "'TrainSet' is read as"),
    Case("train2017", each("train2017", "val2017"), {"train": AB, "val": AB}, "'val2017' is read"),
    Case("asl_alphabet_train", each("asl_alphabet_train/asl_alphabet_train", "asl_alphabet_test"),
         BOTH, "'asl_alphabet_train' is read as train"),
    Case("data/train", each("data/train", "data/test"), BOTH),
    Case("images/train and images/val", each("images/train", "images/val"),
         {"train": AB, "val": AB}),
    Case("two wrappers", each("archive/flowers/train", "archive/flowers/test"), BOTH),
    Case("a wrapper around classes", each("archive/photos"), ALL),
    Case("a wrapper in each split", each("train/flowers", "test/flowers"), BOTH,
         "'flowers'"),
    Case("train/images/<class>", each("train/images", "test/images"), BOTH),
    Case("train and eval", each("train", "eval"), BOTH, "'eval' is read as test"),
    Case("train, eval and test", each("train", "eval", "test"),
         {"train": AB, "val": AB, "test": AB}, "'eval' is read as val"),
    Case("train and hold-out", each("train", "hold-out"), BOTH, "'hold-out' is read as test"),
    Case("train and my_test", each("train", "my_test"), BOTH, "'my_test' is read as test"),
    Case("train, test and test-multiple", [*each("Training", "Test"), *flat("test-multiple")], BOTH,
         left_out="test-multiple"),
    Case("class, then split", ["ants/train/1.jpg", "ants/train/2.jpg", "ants/test/3.jpg",
                               "bees/train/4.jpg", "bees/test/5.jpg", "bees/test/6.jpg"],
         {"train": AB, "test": {"ants": 1, "bees": 2}}, "each class folder holds splits"),
    Case("some classes with splits", ["ants/train/1.jpg", "ants/test/2.jpg", "bees/3.jpg"],
         refused="'ants' holds splits of its own", cure="DATA/<class>/<split>"),
    Case("flat test beside train/<class>", [*each("train"), *flat("test", "7.jpg")],
         refused="images straight in '.*test' have no class", cure="train folder itself, .*/train"),
    Case("flat test beside train and val", [*each("train", "val"), *flat("test")],
         {"train": AB, "val": AB}, left_out="test/1.jpg"),
    Case("a folder beside train alone", [*each("train"), *each("extra")],
         refused="'.*extra' beside the splits", cure="rename it test"),
    Case("flat splits", [*flat("train"), *flat("test")], refused="no folder of a class in them",
         cure="DATA/<split>/<class>"),
    Case("flat splits of other names", [*flat("train_images"), *flat("test_images")],
         refused="'train_images'.*no folder of a class", cure="DATA/<split>/<class>"),
    Case("flat splits beside masks", [*flat("train"), *flat("test"), *flat("masks")],
         refused="'test', 'train' read like splits", cure="folder of its own"),
    Case("flat splits of one name beside another folder", [*flat("bounding_box_train"),
         *flat("bounding_box_test"), *flat("query")],
         refused="'bounding_box_test', 'bounding_box_train' read like splits, .*'query' beside",
         cure="folder of its own"),
    Case("folders by the first letters of the images' names",
         ["0/a/0a1.jpg", "0/b/0b2.jpg", "1/a/1a3.jpg", "1/c/1c4.jpg"],
         refused="'0', '1'.*spread the images by the first letters", cure="CSV with the columns"),
    Case("a hidden class", [*flat(".ants"), *flat("bees")], refused="got 1: 'bees'; left out: "
         "'.*[.]ants' .hidden", cure="one folder per class"),
    Case("val alone", each("val"), refused="the images are in 'val', none in 'train'",
         cure="or give that part alone"),
    Case("split and class in one name",
         [*flat("train_ants"), *flat("train_bees"), *flat("test_ants"), *flat("test_bees")],
         refused="each seems to name a class too", cure="move 'train_ants' to DATA/train/ants"),
    Case("arrays in place of images", [], refused="no image in it",
         cure="'.*images.npz' holds arrays", files={"images.npz": b"PK"}),
    Case("MNIST's own files", [], refused="no image in it", cure="holds arrays",
         files={"train-images-idx3-ubyte": b"\0\0\x08\x03"}),
    Case("videos in class folders", [], refused="no image in it", cure="is a video: .*ffmpeg",
         files={"run/1.avi": b"RIFF", "walk/2.mp4": b"\0"}),
    Case("a packed folder of another kind", [], refused="no image in it", cure="unpack it",
         files={"photos.rar": b"Rar!"}),
    Case("labels in MATLAB's form", flat("jpg"), refused="'.*labels.mat' may hold the labels",
         cure="CSV with the columns path,label", files={"labels.mat": b"MATLAB"}),
    Case("pets, and as many trimaps as images",
         [f"{folder}/{name}_{n}.{end}" for folder, end in (("annotations/trimaps", "png"),
          ("images", "jpg")) for name in ("cat", "dog") for n in (1, 2)],
         refused="'annotations', 'images'", cure="alone: .*/images; or --label-from name"),
    Case("classes sorted by their first letters", ["a/abbey/1.jpg", "a/airport/2.jpg",
         "b/bakery/3.jpg", "b/bar/4.jpg", "c/church/5.jpg"], refused="'a', 'b', 'c' seem to sort",
         cure="--label-from parent"),
    Case("letters that are classes", [*flat("a"), *flat("b")], {None: {"a": 3, "b": 3}}),
    Case("pixels in CSV", [], refused="no image in it", files={"fer2013.csv": text(
         "emotion,pixels,Usage", "0,70 80 82 72,Training")}, cure="2 x 2 grey values.*fromarray"),
    Case("one archive", [], refused="no image in it", cure="give the archive itself: '.*photos.zip",
         files={"photos.zip": b"PK"}),
    Case("parts of one archive", [], refused="no image in it", cure="all of them into one folder"
         ".*photos-001.zip' '.*photos'; .*photos-002.zip' '.*photos'",
         files={"photos-001.zip": b"PK", "photos-002.zip": b"PK"}),
    Case("images with their labels in the names, beside annotations",
         [*flat("images", "cat_1.jpg", "cat_2.jpg", "dog_1.jpg", "dog_2.jpg"),
          *flat("annotations/trimaps")],
         refused="'annotations', 'images'", cure="images.*--label-from name"),
    Case("two data sets", each("hymenoptera/train", "hymenoptera/test", "pets/train", "pets/test"),
         refused="'hymenoptera', 'pets' hold splits of their own",
         cure="one of them: .*hymenoptera"),
    Case("a data set beside figures", [*each("data/train", "data/test"), *flat("docs")],
         refused="'data' holds splits of its own", cure="give that folder: .*/data"),
    Case("seg_train beside no split", [*each("seg_train"), *flat("seg_pred")],
         refused="'seg_train' may be a split or a class", cure="give it alone: .*seg_train"),
    *(Case(f"{name} that hold the same classes", each(*folders),
           cure="--label-from parent if 'ants'",
           refused="hold folders of the same names \\('ants', 'bees'\\)")
      for name, folders in {
          "folds": ("fold1", "fold2"), "domains": ("amazon/images", "dslr/images"),
          "subjects": ("subject01", "subject02", "subject03"), "years": ("2019", "2020"),
          "kinds of picture": ("color", "grayscale", "segmented"), "zooms": ("40X", "100X"),
          "augmented ones": ("Original", "Augmented"), "letters": ("A", "B"),
          "parts of a set that say no split": ("gallery", "query"),
      }.items()),
    Case("numbered identities in two parts", [f"{part}/00{n}/1.jpg" for part in ("gallery", "query")
                                              for n in (1, 2, 3)],
         refused="'gallery', 'query' hold folders of the same names", cure="--label-from parent"),
    Case("numbered identities, mostly the same", [
        *(f"gallery/00{n}/1.jpg" for n in range(4)), *(f"query/00{n}/1.jpg" for n in (1, 2, 5))],
         refused="'gallery', 'query' hold folders of the same names", cure="--label-from parent"),
    Case("subjects around numbered classes",
         ["s1/0/1.jpg", "s1/1/2.jpg", "s2/0/3.jpg", "s2/1/4.jpg"],
         refused="hold folders of the same names \\('0', '1'\\)", cure="--label-from parent"),
    Case("folds, with the parent folder", each("fold1", "fold2"), {None: {"ants": 4, "bees": 2}},
         options={"label_from": "parent"}),
    Case("views in each class, with the top folder",
         ["cat/front/1.jpg", "cat/side/2.jpg", "dog/front/3.jpg", "dog/side/4.jpg"],
         {None: {"cat": 2, "dog": 2}}, options={"label_from": "top"}),
    Case("the parent folder within splits", ["train/x/ants/1.jpg", "train/y/bees/2.jpg",
                                             "test/x/ants/3.jpg", "test/y/bees/4.jpg"],
         {s: {"ants": 1, "bees": 1} for s in ("train", "test")}, options={"label_from": "parent"}),
    Case("the parent folder around images", [*flat("a/cat/images"), *flat("b/dog/images")],
         {None: {"cat": 3, "dog": 3}}, options={"label_from": "parent"}),
    Case("kinds above the classes", ["mammal/cat/1.jpg", "mammal/dog/2.jpg", "bird/owl/3.jpg",
                                     "bird/crow/4.jpg"], {None: {"mammal": 2, "bird": 2}},
         "'bird' is read as one class, with all of its folders"),
    *(Case(f"splits in {name}", each(*folders),
           dict.fromkeys(("train", "val", "test")[:: 4 - len(folders)], AB),
           f"{folders[0]!r} is read as train")
      for name, folders in {
          "German": ("Trainingsdaten", "Validierung", "Testdaten"),
          "French": ("entraînement", "validation", "essai"),
          "French without accents": ("entrainement", "evaluation"),
          "Spanish": ("entrenamiento", "validación", "prueba"),
          "Spanish phrases": ("datos de entrenamiento", "datos de prueba"),
          "Portuguese": ("treino", "validacao", "teste"),
          "Italian": ("addestramento", "convalida", "collaudo"),
          "Chinese": ("训练集", "验证集", "测试集"), "Japanese": ("学習データ", "テスト"),
          "Korean": ("훈련", "검증", "테스트"),
          "Russian": ("обучающая выборка", "тестовая выборка"),
          "Polish": ("treningowe", "walidacyjne", "testowe"), "Turkish": ("eğitim", "test"),
          "Czech": ("trénovací", "testovací"), "abbreviations": ("tr", "va", "te"),
          "English": ("learn", "unseen"), "two at once": ("trainval", "test"),
          "two words at once": ("train_val", "test"),
      }.items()),
    Case("a word of another language alone", [*flat("prova"), *flat("ants")],
         {None: {"prova": 3, "ants": 3}}),
    Case("masks beside their images",
         ["a/0.png", "a/1.png", "a/1_mask.png", "b/1.png", "b/2.png", "b/2_mask_1.png"],
         {None: {"a": 2, "b": 2}}, left_out="a/1_mask.png"),
    Case("masks in folders within the classes",
         [f"{c}/{kind}/{n}.png" for c in "ab" for kind in ("images", "masks") for n in "12"],
         {None: {"a": 2, "b": 2}}, left_out="b/masks/2.png"),
    Case("masks below splits of classes",
         [f"{c}/{s}/{k}/1.png" for c in "ab" for s in ("train", "test")
          for k in ("images", "masks")],
         {s: {"a": 1, "b": 1} for s in ("train", "test")}, "each class folder holds splits",
         left_out="a/test/masks/1.png"),
    Case("thumbnails", ["a/1.jpg", "a/2.jpg", "a/thumbs/1_thumb.jpg", "b/1.jpg", "b/2.jpg",
                        "b/2-thumb.jpg"], {None: {"a": 2, "b": 2}},
         left_out="a/thumbs/1_thumb.jpg"),
    Case("a run and heat maps of ours in the folder", [*each(""), *flat("explained")], ALL,
         files={"explained/maps.json": json.dumps({"schema": 1, "model": "m", "method": "cam"}),
                **{f"runs/one/{name}.json": "{}" for name in ("run", "findings", "metrics")}},
         left_out="explained"),
    Case("maps.json of another program", [*each(""), *flat("maps")],
         {None: {**AB, "maps": 3}}, files={"maps/maps.json": '{"tiles": []}'}),
    Case("a table of other endings", IMAGES, files={"labels.csv": TABLE.replace(".jpg", ".png")},
         refused="labels.csv' lists '1.png', and there is '1.jpg'", cure="write the endings"),
    Case("a model of Teachable Machine beside the classes", each(""), ALL,
         files={"keras_model.h5": b"\x89HDF", "labels.txt": "0 ants\n1 bees\n"}),
    *(Case(f"{name} beside the images", each(""), ALL, files={f"ants/{name}": b"x"},
           left_out=f"ants/{name}")
      for name in ("walk.MOV", "scans.npy", "field-notes.pdf", "brain.nii.gz")),
    Case("a class called mask", [*flat("mask"), *flat("no mask")],
         {None: {"mask": 3, "no mask": 3}}),
    Case("train and a packed test", each("train"), files={"test.zip": b"PK"},
         refused="'.*test.zip' is not unpacked", cure="unpack it beside train"),
    Case("train alone", each("train"), refused="all images are in 'train'",
         cure="the train folder itself, .*/train"),
    Case("years inside the classes", ["ants/2019/1.jpg", "ants/2020/2.jpg", "bees/2019/3.jpg",
                                      "bees/2020/4.jpg"],
         refused="hold folders of the same names \\('2019', '2020'\\)", cure="--label-from top"),
    Case("a class called train", [*flat("train"), *flat("car"), *flat("bus")],
         {None: {"train": 3, "car": 3, "bus": 3}}),
    Case("a class called steam train", [*flat("steam train"), *flat("car")],
         {None: {"steam train": 3, "car": 3}}),
    Case("valid and invalid", [*flat("valid"), *flat("invalid")],
         {None: {"valid": 3, "invalid": 3}}),
    Case("images and annotations with folders", [*flat("images"), *flat("annotations/trimaps")],
         refused="'annotations', 'images'", cure="images alone: .*"),
    Case("the classes once more beside themselves", [*each(""), *each("photos/all")],
         refused="'photos' beside the classes", cure="alone: .*photos/all"),
    Case("images and masks", [*flat("images"), *flat("masks")],
         refused="'images', 'masks'", cure="DATA/<class>/"),
    Case("one name in NFC and NFD", [f"train/{NFC}/1.jpg", "train/tea/2.jpg", f"test/{NFD}/3.jpg",
                                     "test/tea/4.jpg"],
         {split: {NFC: 1, "tea": 1} for split in ("train", "test")}),
    Case("YOLO classification", each("set/train", "set/val", "set/test"),
         {"train": AB, "val": AB, "test": AB}),
    Case("YOLO boxes by kind", [*flat("images/train"), *flat("images/val", "4.jpg")],
         refused="holds boxes \\(YOLO\\)", cure="one folder per class",
         files={"labels/train/1.txt": YOLO, "labels/val/4.txt": YOLO, "data.yaml": "nc: 1\n"}),
    Case("YOLO boxes by split", [*flat("train/images"), *flat("valid/images", "4.jpg")],
         refused="holds boxes \\(YOLO\\)", cure="one folder per class",
         files={"train/labels/1.txt": YOLO, "valid/labels/4.txt": YOLO}),
    Case("COCO", [*flat("train2017"), *flat("val2017", "4.jpg")],
         refused="holds boxes \\(COCO\\)", cure="one folder per class",
         files={"annotations/instances_train2017.json": COCO}),
    Case("Pascal VOC", flat("JPEGImages"), refused="holds boxes \\(Pascal VOC\\)",
         cure="one folder per class",
         files={"Annotations/1.xml": "<annotation><object><bndbox></object></annotation>"}),
    Case("sample archives of Teachable Machine", [], refused="no image in it",
         cure="zipfile -e .*Class 1-samples.zip.* .*Class 1", files={"Class 1-samples.zip": b"PK"}),
]  # fmt: skip

NAMES = flat("", "cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "dog.2.jpg")
CATS = {"cat": 2, "dog": 2}
IN_NAMES = [
    Case("labels in names", NAMES, refused="'cat.1.jpg' seem",
         cure="--label-from name.*cat \\(2\\)"),
    Case("labels in names, asked for", NAMES, {None: CATS}, options={"label_from": "name"}),
    Case("labels in names in a folder", [f"train/{n}" for n in NAMES], refused="'cat.1.jpg' seem",
         cure="--label-from name"),
    Case("labels in names in one class folder", [f"pets/{n}" for n in NAMES],
         refused="got 1: 'pets'",
         cure="--label-from name"),
    Case("labels in names of train only", [*(f"train/{n}" for n in NAMES), *flat("test1")],
         refused="'cat.1.jpg' seem", cure="give .*train with --label-from name"),
    Case("labels in names in splits", [f"{s}/{n}" for s in ("train", "test") for n in NAMES],
         {"train": CATS, "test": CATS}, options={"label_from": "name"}),
    Case("labels after numbers", flat("", "1_cat.jpg", "2_cat.jpg", "3-dog.jpg", "4-dog.jpg"),
         {None: CATS}, options={"label_from": "name"}),
    Case("no labels in names", flat("", "IMG_1.jpg", "IMG_2.jpg", "DSC_3.jpg", "DSC_4.jpg"),
         refused="has a label\n", cure="folder of its own"),
    Case("names that are no labels", flat("", "a1.jpg", "b2.jpg", "c3.jpg"),
         refused="--label-from name reads 3 labels", cure="path,label",
         options={"label_from": "name"}),
    Case("an unpacked Teachable Machine project",
         flat("", "Class 1-!-0.png", "Class 1-!-1.png", "Class 2-!-0.png"),
         {None: {"Class 1": 2, "Class 2": 1}}, "Teachable Machine"),
]  # fmt: skip

BESIDE = [
    Case("labels.csv beside the images", flat(""), ALL,
         "labels of 3 images are read from .*labels.csv",
         files={"labels.csv": TABLE}),
    Case("metadata.csv at the top", IMAGES, ALL, "read from .*metadata.csv",
         files={"metadata.csv": TABLE.replace("\n", "\nimages/").removesuffix("images/")}),
    Case("metadata.csv in each split", [*flat("train"), *flat("test")], BOTH, "train/metadata.csv",
         files={"train/metadata.csv": TABLE, "test/metadata.csv": TABLE}),
    Case("metadata.jsonl", flat(""), ALL, "metadata.jsonl", files={"metadata.jsonl": text(
        '{"file_name": "1.jpg", "label": "ants"}', '{"file_name": "2.jpg", "label": "ants"}',
        '{"file_name": "3.jpg", "label": "bees"}')}),
    Case("labels.csv over a folder that is no class", flat("photos_2024"), ALL, "labels.csv",
         files={"labels.csv": TABLE}),
    Case("train.csv with ids beside train and test", [*flat("train"), *flat("test", "1.jpg")],
         refused="all images are in 'train'", cure="the table itself, .*train.csv",
         files={"train.csv": "id,label\n1,ants\n2,ants\n3,bees\n",
                "sample_submission.csv": "id,label\n1,ants\n"}),
    Case("train.txt and test.txt that list paths alone", each(""),
         {"train": {"ants": 1, "bees": 1}, "test": {"ants": 1, "bees": 0}}, "the splits of 1 image",
         files={"train.txt": "ants/1.jpg\nbees/3.jpg\n", "test.txt": "ants/2.jpg\n"}),
    Case("lists of names in meta, as Food-101's", each("images"),
         {"train": {"ants": 1, "bees": 1}, "test": {"ants": 1, "bees": 0}},
         "the splits of 2 images",
         files={"meta/train.txt": "ants/1\nbees/3\n", "meta/test.txt": "ants/2\n",
                "meta/classes.txt": "ants\nbees\n"}),
    Case("a file that says a division by its name", each("images"), ALL,
         "train_test_split.txt' may say a division",
         files={"train_test_split.txt": "1 1\n2 0\n3 1\n", "images.txt": "1 ants/1.jpg\n"}),
    Case("a list of parts is no list of classes", flat("img"), refused="has a label",
         cure="one|folder", files={"list_eval_partition.txt": "1.jpg 0\n2.jpg 1\n3.jpg 2\n"}),
    Case("the table in a folder beside the images", flat("Task3_Training_Input"), ALL,
         "one column per class", files={"Task3_GroundTruth/truth.csv": text(
             "image,ants,bees", "1,1.0,0.0", "2,1.0,0.0", "3,0.0,1.0")}),
    Case("JSON as pandas writes it", flat(""), ALL, "labels of 3 images are read from .*json",
         files={"labels.json": '[{"image": "1.jpg", "label": "ants"}, {"image": "2.jpg", '
                               '"label": "ants"}, {"image": "3.jpg", "label": "bees"}]'}),
    Case("Label Studio's JSON beside its uploads", flat("upload/1"), ALL, "'choice' is read as",
         files={"project.json": '[{"image": "/data/upload/1/1.jpg", "choice": "ants"}, '
                                '{"image": "/data/upload/1/2.jpg", "choice": "ants"}, '
                                '{"image": "/data/upload/1/3.jpg", "choice": "bees"}]'}),
    Case("train.txt and test.txt over class folders", each(""),
         {"train": {"ants": 1, "bees": 1}, "test": {"ants": 1, "bees": 0}}, "the splits of 1 image",
         files={"train.txt": "ants/1.jpg 0\nbees/3.jpg 1\n", "test.txt": "ants/2.jpg 0\n"}),
    Case("train.csv and test.csv over images", IMAGES, {"train": {"ants": 1, "bees": 1},
                                                        "test": {"ants": 1, "bees": 0}}, "test.csv",
         files={"train.csv": "image,label\n1.jpg,ants\n3.jpg,bees\n",
                "test.csv": "image,label\n2.jpg,ants\n"}),
    Case("flat test with a table", [*each("Train"), *flat("Test", "7.jpg", "8.jpg")],
         {"train": AB, "test": {"ants": 1, "bees": 1}}, "Test.csv",
         files={"Test.csv": "Width,ClassId,Path\n1,ants,Test/7.jpg\n1,bees,Test/8.jpg\n"}),
    Case("a table without a known label column", IMAGES, refused="names 3 images, but no column",
         cure="labels.csv; --label-column lbl",
         files={"labels.csv": TABLE.replace("label", "lbl")}),
    Case("images in parts with a table of another label", [*flat("ham_images_part_1", "1.jpg"),
                                                           "ham_images_part_2/2.jpg"],
         refused="metadata.csv names 2 images", cure="metadata.csv; --label-column NAME",
         files={"metadata.csv": "lesion_id,image_id,dg,age,sex\nL1,1,nv,3,m\nL2,2,mel,4,f\n"}),
    Case("HAM10000", [*flat("HAM10000_images_part_1", "1.jpg", "2.jpg"),
                      "HAM10000_images_part_2/3.jpg"], ALL,
         "'dx' is read as the label.*'lesion_id' may say which",
         files={"HAM10000_metadata.csv": text("lesion_id,image_id,dx,age", "L1,1,ants,3",
                                              "L2,2,ants,4", "L3,3,bees,5")}),
    Case("parts that wrap their images once more", ["images_001/images/1.jpg",
         "images_001/images/2.jpg", "images_002/images/3.jpg"], ALL, "read from .*Data_Entry",
         files={"Data_Entry_2017.csv": text("Image Index,Finding Labels", "1.jpg,ants",
                                            "2.jpg,ants", "3.jpg,bees")}),
    Case("VIA's CSV", flat(""), refused="an export of VIA", cure="^write the one label",
         files={"via.csv": text("filename,file_attributes,region_count,region_attributes",
                                *(f'{n}.jpg,"{{}}",0,"{{}}"' for n in (1, 2, 3)))}),
    Case("VIA's JSON", flat(""), refused="may hold the labels.*an export of VIA",
         cure="write the one label", files={"via.json":
         '{"1.jpg10": {"filename": "1.jpg", "regions": [{"region_attributes": {}}]}}'}),
    Case("CVAT's XML", IMAGES, refused="an export of CVAT", cure="as 'ImageNet 1.0'",
         files={"annotations.xml": '<annotations><image id="0" name="1.jpg"><tag label="ants"/>'}),
    Case("LabelMe's JSON", flat(""), refused="an export of LabelMe", cure="'flags' has those",
         files={f"{n}.json": '{"shapes": [], "imagePath": "1.jpg"}' for n in (1, 2, 3)}),
    Case("iNaturalist's JSON, which has no boxes", IMAGES, ALL, "labels of 3 images are read",
         files={"train.json": json.dumps({
             "images": [{"id": n, "file_name": f"images/{n}.jpg"} for n in (1, 2, 3)],
             "annotations": [{"image_id": n, "category_id": n // 3} for n in (1, 2, 3)],
             "categories": [{"id": 0, "name": "ants"}, {"id": 1, "name": "bees"}]})}),
    Case("iNaturalist's JSON, two classes of one image", IMAGES, refused="several labels",
         cure="one label",
         files={"train.json": json.dumps({
             "images": [{"id": n, "file_name": f"images/{n}.jpg"} for n in (1, 2, 3)],
             "annotations": [*({"image_id": n, "category_id": n // 3} for n in (1, 2, 3)),
                             {"image_id": 1, "category_id": 1}],
             "categories": [{"id": 0, "name": "ants"}, {"id": 1, "name": "bees"}]})}),
    Case("FiftyOne's labels.json", flat("data"), ALL, "'id' is read as the path",
         files={"labels.json":
                '{"classes": ["ants", "bees"], "labels": {"1": 0, "2": 0, "3": 1}}'}),
    *(Case(f"JSON of {name}", flat("img"), ALL, "labels of 3 images are read",
           files={"labels.json": json.dumps(content)})
      for name, content in {
          "pairs": [["1.jpg", "ants"], ["2.jpg", "ants"], ["3.jpg", "bees"]],
          "names, each with an object": {
              f"{n}.jpg": {"label": label} for n, label in ((1, "ants"), (2, "ants"), (3, "bees"))},
          "classes with their images": {"ants": ["1.jpg", "2.jpg"], "bees": ["3.jpg"]},
      }.items()),
    Case("texts of the images' names", [*flat(""), "4.jpg"], refused="each image has a text of its "
         "name, such as .*'cat'", cure="CSV with the columns path,label",
         files={f"{n}.txt": "cat\n" for n in (1, 2, 3, 4)}),
    Case("a text of names and labels that is no table", flat("data/images"),
         refused="images_variant_train.txt' may hold the labels", cure="CSV with the columns",
         files={"data/images_variant_train.txt": "1 707-320\n2 Boeing 737\n3 A 300\n"}),
    Case("attributes beside one folder", flat("img_align_celeba"), refused="got 1: 'img_align_celeb"
         "a'; '.*list_attr_celeba.txt' may hold the labels", cure="CSV with the columns path,label",
         files={"list_attr_celeba.txt": "3\nMale Young\n1.jpg 1 -1\n2.jpg -1 -1\n3.jpg 1 1\n"}),
    Case("one column per class in train.csv, ids in test.csv", flat("images", "Train_1.jpg",
         "Train_2.jpg", "Train_3.jpg", "Test_4.jpg"), refused="all images are in 'train'",
         cure="the table itself, .*train.csv",
         files={"train.csv": text("image_id,ants,bees", "Train_1,1,0", "Train_2,1,0",
                                  "Train_3,0,1"), "test.csv": "image_id\nTest_4\n"}),
    Case("images in parts with a table", [*flat("part_1", "1.jpg", "2.jpg"), "part_2/3.jpg"], ALL,
         "read from", files={"labels.csv": TABLE}),
    Case("a table that says other classes", [*flat("ham_1", "1.jpg", "2.jpg"), "ham_2/3.jpg"],
         refused="said twice.*'ham_1', 'ham_2' by the folders", cure="metadata.csv",
         files={"metadata.csv": text("file_name,label", "1.jpg,ants", "2.jpg,bees", "3.jpg,bees")}),
    Case("a table that says two labels of one image", flat(""),
         refused="rows 2 and 5 give one image different labels: 'ants', 'bees'", cure="right row",
         files={"labels.csv": TABLE + "1.jpg,bees\n"}),
    Case("a table of several labels in a cell", flat(""), refused="several labels: 'ants|bees'"
         .replace("|", "[|]"), cure="keep one label", files={"labels.csv": TABLE + "2.jpg,ants\n"
         + "4.jpg,ants|bees\n"}),
    Case("a table that says the same classes", each(""), ALL,
         files={"labels.csv": text("path,label", "ants/1.jpg,0", "ants/2.jpg,0", "bees/3.jpg,1")}),
    Case("a table of other things beside classes", each(""), ALL,
         "classes are those of the folders",
         files={"metadata.csv": text("file_name,camera", "1.jpg,a", "2.jpg,b", "3.jpg,a")}),
    Case("a table with groups beside the images", IMAGES, ALL,
         "the labels of 3 images and the groups of 3 images are read",
         files={"labels.csv": text("file,label,group", "1.jpg,ants,a", "2.jpg,ants,b",
                                   "3.jpg,bees,c")}),
    Case("a table of groups beside classes", each(""), ALL, "the groups of 3 images are read",
         files={"groups.csv": text("file,group", "ants/1.jpg,a", "ants/2.jpg,b", "bees/3.jpg,c")}),
    Case("a table with patients beside the images", IMAGES, ALL, "'patient_id' may say which",
         files={"labels.csv": text("file,label,patient_id", "1.jpg,ants,a", "2.jpg,ants,b",
                                   "3.jpg,bees,c")}),
    Case("a table with patients beside classes", each(""), ALL, "'patient_id' may say which",
         files={"about.csv": text("file,patient_id", "1.jpg,a", "2.jpg,b", "3.jpg,c")}),
    Case("a table with folds beside the images", IMAGES, ALL, "'kfold' may say the split",
         files={"labels.csv": text("file,label,kfold", "1.jpg,ants,0", "2.jpg,ants,1",
                                   "3.jpg,bees,2")}),
    Case("_annotations.csv of Roboflow in each split", [*flat("train"), *flat("valid")],
         {"train": AB, "val": AB}, "'xmin', 'ymin', 'xmax', 'ymax' say where",
         files={f"{s}/_annotations.csv": text(
             "filename,width,height,class,xmin,ymin,xmax,ymax", "1.jpg,9,9,ants,1,2,3,4",
             "2.jpg,9,9,ants,1,2,3,4", "3.jpg,9,9,bees,1,2,3,4") for s in ("train", "valid")}),
    Case("_classes.csv of Roboflow in each split", [*flat("train"), *flat("valid")],
         {"train": AB, "val": AB}, "one column per class",
         files={f"{s}/_classes.csv": text("filename, ants, bees", "1.jpg, 1, 0", "2.jpg, 1, 0",
                                          "3.jpg, 0, 1") for s in ("train", "valid")}),
]  # fmt: skip


def manifest(name, content, *, images=P, give="m.csv", **expected):
    return Case(name, images, files={give: content}, give=give, **expected)


MANIFESTS = [
    manifest("commas", lined(","), counts=ALL),
    manifest("with BOM", "\ufeff" + lined(","), counts=ALL),
    manifest("semicolons", lined(";"), counts=ALL),
    manifest("tabs in a .csv", lined("\t"), counts=ALL),
    manifest("bars", lined("|"), counts=ALL),
    manifest("sep= of a spreadsheet", "sep=;\n" + lined(";"), counts=ALL),
    manifest("UTF-16", lined(";").encode("utf-16"), counts=ALL),
    manifest("UTF-16 without its mark", lined("\t").encode("utf-16-le"), counts=ALL),
    manifest("no header", lined(",", header=""), counts=ALL, told="no line names the columns"),
    manifest("no header, three columns",
             "p/1.jpg,ants,train\np/3.jpg,bees,train\np/2.jpg,ants,test\n",
             told="'2' is read as the label, column '3' is read as the split",
             counts={"train": {"ants": 1, "bees": 1}, "test": {"ants": 1, "bees": 0}}),
    manifest("no header, an index first", "0,p/1.jpg,ants\n1,p/2.jpg,ants\n2,p/3.jpg,bees\n",
             counts=ALL, told="'2' is read as the path, column '3' is read as the label"),
    manifest("no header, two columns that may be it", "p/1.jpg,ants,red\np/2.jpg,bees,blue\n",
             refused="has a label: no column", cure="--label-column 2 or --label-column 3 says"),
    manifest("no header, columns by number",
             "p/1.jpg,red,ants\np/2.jpg,red,ants\np/3.jpg,red,bees\n",
             options={"label_column": "3"}, told="'1' is read as the path", counts=ALL),
    manifest("backslashes", lined(",").replace("/", "\\"), counts=ALL, told="is read as /"),
    manifest("backslashes in some rows", lined(",").replace("p/2", "p\\2"), counts=ALL,
             told="1 row"),
    manifest("an index column", ",path,label\n0,p/1.jpg,ants\n1,p/2.jpg,ants\n2,p/3.jpg,bees\n",
             counts=ALL),
    manifest("an index column of R",
             'path\tlabel\n1\tp/1.jpg\tants\n2\tp/2.jpg\tants\n3\tp/3.jpg\tbees\n',
             counts=ALL),
    manifest("without extensions", lined(",").replace(".jpg", ""), counts=ALL,
             told="'p/1' is read as"),
    manifest("other capitals in extensions", lined(",").replace(".jpg", ".JPG"), counts=ALL,
             told="is read as"),
    manifest("images below another folder", lined(",", folder=""), counts=ALL, told="is read as"),
    manifest("paths of another computer", lined(",", folder="C:\\Users\\me\\p\\"), counts=ALL,
             told="is read as"),
    manifest("paths that fit two files", lined(",", folder=""), images=[*P, *flat("q")],
             refused="more than one fits", cure="with their folders"),
    manifest("ids of images", lined(",", header="id,label", folder="").replace(".jpg", ""),
             counts=ALL,
             told="'id' is read as the path"),
    manifest("NFD in the table, NFC on disk", lined(",", folder=f"{NFD}/"), images=flat(NFC),
             counts=ALL,
             told="is read as"),
    manifest("image,lbl", lined(",", header="image,lbl"), cure="--label-column lbl",
             refused="no column is named label, class, target or category; .*'image', 'lbl'"),
    manifest("no label column at all", "path\np/1.jpg\np/2.jpg\n", refused="the columns are 'path'",
             cure="column named label"),
    manifest("other usual names", "class id,filepaths,labels,data set\n"
             "0,p/1.jpg,ants,train\n1,p/3.jpg,bees,train\n0,p/2.jpg,ants,test\n",
             counts={"train": {"ants": 1, "bees": 1}, "test": {"ants": 1, "bees": 0}},
             told="'data set' is read as the split"),
    manifest("paths in train and test, no split column", images=each("train", "test"),
             content="path,label\n" + "".join(f"{n},{n.split('/')[1]}\n" for n in each("train",
             "test")),
             counts={None: {"ants": 4, "bees": 2}}, told="called 'test', 'train'.*divided anew"),
    manifest("JSON of names and labels",
             '{"p/1.jpg": "ants", "p/2.jpg": "ants", "p/3.jpg": "bees"}',
             give="labels.json", counts=ALL),
    manifest("attributes of -1 and 1", "image,Bald,Male\np/1.jpg,-1,1\np/2.jpg,1,1\n",
             refused="not exactly one of them is 1", cure="--label-column Bald"),
    manifest("patients in no group column", "path,label,patient_id\np/1.jpg,ants,1\n"
             "p/2.jpg,ants,1\np/3.jpg,bees,2\n", counts=ALL, told="'patient_id' may say which"),
    manifest("folds in a column", "path,label,fold\np/1.jpg,ants,0\np/2.jpg,ants,1\n"
             "p/3.jpg,bees,2\n", counts=ALL, told="'fold' may say the split"),
    manifest("a quantity for a label", text("path,label", *(f"p/{n}.jpg,{n}.5" for n in range(20))),
             images=flat("p", *(f"{n}.jpg" for n in range(20))),
             refused="20 different labels", cure="ranges"),
    manifest("a list of parts given itself", "p/1.jpg 0\np/2.jpg 1\np/3.jpg 0\n",
             give="list_eval_partition.txt", refused="no column is named label",
             cure="--label-column 2"),
    manifest("a text list with numbers of several labels", "p/1.jpg 0 1\np/2.jpg 1 0\n",
             give="list.txt", refused="several labels: '0 1', '1 0'", cure="keep one label"),
    manifest("a text list with a comment", "# path label\n" + lined(" ", header=""),
             give="list.txt", counts=ALL, told="'2' is read as the label"),
    manifest("a column that may say the split", "path,label,is_test\np/1.jpg,ants,0\n"
             "p/2.jpg,ants,0\np/3.jpg,bees,1\n", counts=ALL, told="'is_test' may say the split"),
    manifest("JSON lines of boxes", '{"file_name": "p/1.jpg", "objects": {"bbox": [[1, 2]]}}\n',
             give="m.jsonl", refused="'objects' says where", cure="one folder per class"),
    manifest("boxes in columns", "filename,class,xmin,ymin,xmax,ymax\n"
             "p/1.jpg,ants,1,2,3,4\np/2.jpg,ants,1,2,3,4\np/3.jpg,bees,1,2,3,4\n", counts=ALL,
             told="'xmin', 'ymin', 'xmax', 'ymax' say where"),
    manifest("addresses on the internet", lined(",", folder="https://example.org/p/"), counts=ALL,
             images=[]),
    manifest("addresses of images that lie beside their table",
             lined(",", folder="gs://bucket/img/p/"), counts=ALL,
             told="3 images of the 3 listed by address lie beside it and are not fetched"),
    manifest("addresses of the internet, and other images beside their table",
             lined(",", folder="https://example.org/q/"), images=flat("p", "7.jpg"), counts=ALL),
    manifest("addresses of a kind that is not read", lined(",", folder="ftp://example.org/p/"),
             refused="3 of 3 paths are addresses", cure="or download the images"),
    manifest("two label columns", "path,label,class\np/1.jpg,a,b\n",
             refused="could all be the label",
             cure="--label-column label or --label-column class"),
    manifest("a path column by content", lined(",", header="photo_of,label"), counts=ALL,
             told="'photo_of' is read as the path"),
    manifest("several labels in one cell", lined(",").replace("bees", "ants|bees")
             + "p/1.jpg,ants\n" + "p/2.jpg,ants\n" + "p/4.jpg,bees\n",
             refused="several labels: 'ants|bees'".replace("|", "\\|"), cure="keep one label"),
    manifest("several labels with blanks", text("path,label", "p/1.jpg,cat", "p/2.jpg,dog",
                                                "p/3.jpg,cat dog"),
             refused="several labels: 'cat dog'", cure="keep one label"),
    manifest("labels as lists", lined(",").replace("ants", "['ants']"), refused="several labels",
             cure="keep one label"),
    manifest("labels of two words", lined(",").replace("ants", "golden retriever"),
             counts={None: {"golden retriever": 2, "bees": 1}}),
    manifest("one column per class", text("image,ants,bees", "p/1.jpg,1,0", "p/2.jpg,1.0,0.0",
                                          "p/3.jpg,0,1"), counts=ALL, told="one column per class"),
    manifest("one column per class, several on", text("image,ants,bees", "p/1.jpg,1,0",
                                                      "p/2.jpg,1,1", "p/3.jpg,0,1"),
             refused="in row 3 not exactly one of them is 1", cure="--label-column"),
    manifest("a text list", lined(" ", header=""), give="list.txt", counts=ALL,
             told="'2' is read as the label"),
    manifest("a text list with blanks in names", lined(" ", header="", folder="my p/"),
             images=flat("my p"), give="list.txt", counts=ALL, told="'1' is read as the path"),
    manifest("a text list of paths", "p/1.jpg\np/2.jpg\n", give="list.txt",
             refused="has a label: no column", cure="folder"),
    manifest("labels.txt as CSV", lined(","), give="labels.txt", counts=ALL),
    manifest("a text that lists nothing", "hello\n", give="notes.txt", refused="is neither",
             cure="path label"),
    manifest("JSON lines", text(*(f'{{"image": "p/{n}.jpg", "label": "{label}"}}' for n, label in
                                  ((1, "ants"), (2, "ants"), (3, "bees")))),
             give="m.jsonl", counts=ALL),
    manifest("COCO given itself", COCO, give="instances.json", refused="is neither",
             cure="boxes, as COCO's, are not labels"),
    manifest("pixels in place of paths", "label," + ",".join(f"pixel{n}" for n in range(784))
             + "\n1," + ",".join("0" * 784) + "\n", refused="28 x 28 grey values",
             cure="reshape\\(28, 28\\)"),
    manifest("an export of CVAT", '<annotations><image id="0">', give="annotations.xml",
             refused="an export of CVAT, which is not read", cure="ImageNet 1.0"),
    manifest("a list of MXNet", "0\t0.0\tp/1.jpg\n1\t0.0\tp/2.jpg\n2\t1.0\tp/3.jpg\n",
             give="train.lst", refused="the columns are '1', '2', '3'",
             cure="--label-column 1 or --label-column 2"),
    manifest("a spreadsheet", b"PK", give="m.xlsx", refused="is neither",
             cure="save the sheet as CSV"),
    manifest("a label column of Latin-1", lined(",").replace("bees", "Käfer").encode("latin-1"),
             refused="not UTF-8", cure="save the manifest in UTF-8"),
]  # fmt: skip


def numbered(*folders, ext="jpg", n=4):
    """So many images in each folder, of names that no other folder has."""
    return [f"{folder}/{j}{i}.{ext}" for j, folder in enumerate(folders) for i in range(n)]


def lines_of(row, names):
    return text(*(row(i, name) for i, name in enumerate(names)))


BIRDS = [f"images/{code}/{code}_{i}.jpg" for code in ("001.Auk", "002.Wren") for i in range(4)]
FLAT_BIRDS = [f"images/{i}.jpg" for i in range(4)]
CUB = {
    "images.txt": lines_of(lambda i, p: f"{i + 1} {p.removeprefix('images/')}", BIRDS),
    "image_class_labels.txt": lines_of(lambda i, p: f"{i + 1} {1 + ('Wren' in p)}", BIRDS),
    "train_test_split.txt": lines_of(lambda i, p: f"{i + 1} {i % 2}", BIRDS),
    "classes.txt": "1 001.Auk\n2 002.Wren\n",
}
FLAT_CUB = {
    "images.txt": lines_of(lambda i, p: f"a-{i} {p.removeprefix('images/')}", FLAT_BIRDS),
    "image_class_labels.txt": lines_of(lambda i, p: f"a-{i} {i // 2}", FLAT_BIRDS),
    "train_test_split.txt": lines_of(lambda i, p: f"a-{i} {i % 2}", FLAT_BIRDS),
    "classes.txt": "0 Great Auk\n1 Wren\n",
}
TWO = {"a": 2, "b": 2}
SETS = [
    Case("CUB-200", BIRDS, {"train": {"001.Auk": 2, "002.Wren": 2},
         "test": {"001.Auk": 2, "002.Wren": 2}}, "the splits .*1 is train", files=CUB),
    Case("CUB-200 without class folders", FLAT_BIRDS,
         {"train": {"Great Auk": 1, "Wren": 1}, "test": {"Great Auk": 1, "Wren": 1}},
         "splits .* and labels", files=FLAT_CUB),
    Case("Tiny ImageNet", [*(f"train/n0{c}/images/n0{c}_{i}.JPEG" for c in (1, 2) for i in (0, 1)),
         "val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/test_0.JPEG"],
         {"train": {"n01": 2, "n02": 2}, "val": {"n01": 1, "n02": 1}},
         "labels of 2 images are read from .*val_annotations.txt",
         files={"val/val_annotations.txt": "val_0.JPEG\tn01\t0\t0\t9\t9\n"
                "val_1.JPEG\tn02\t0\t0\t9\t9\n"}, left_out="test/images/test_0.JPEG"),
    Case("Oxford Pets", [f"images/{c}_{i}.jpg" for c in ("Bengal", "pug") for i in range(3)],
         refused="names such as 'Bengal_0.jpg' seem to say it", cure="--label-from name.*pug \\(3",
         files={"annotations/list.txt": "#Image CLASS-ID SPECIES BREED ID\nBengal_0 1 1 1\n"}),
    Case("Oxford Flowers", [f"jpg/image_0000{i}.jpg" for i in range(3)],
         refused="imagelabels.mat.*may hold the labels", cure="CSV with the columns path,label",
         files={"imagelabels.mat": b"MATLAB 5.0", "setid.mat": b"MATLAB 5.0"}),
    Case("Stanford Cars", [*flat("cars_train", "1.jpg", "2.jpg"), *flat("cars_test", "3.jpg")],
         refused="'cars_train' are read as splits", cure="DATA/<split>/<class>",
         files={"devkit/cars_train_annos.mat": b"MATLAB 5.0"}),
    Case("Food-101", [f"images/{c}/{c}{i}.jpg" for c in "ab" for i in range(4)],
         {"train": TWO, "test": TWO}, "the splits of 4 images are read from .*meta/test.txt",
         files={"meta/train.txt": "a/a0\na/a1\nb/b0\nb/b1\n",
                "meta/test.txt": "a/a2\na/a3\nb/b2\nb/b3\n"}),
    Case("DTD", [f"images/{c}/{c}_{i}.jpg" for c in "ab" for i in range(4)],
         {"train": TWO, "val": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}}, "labels/train1.txt",
         files={"labels/train1.txt": "a/a_0.jpg\na/a_1.jpg\nb/b_0.jpg\nb/b_1.jpg\n",
                "labels/val1.txt": "a/a_2.jpg\nb/b_2.jpg\n",
                "labels/test1.txt": "a/a_3.jpg\nb/b_3.jpg\n"}),
    Case("Caltech-101", numbered("101_ObjectCategories/ant", "101_ObjectCategories/bee"),
         {None: {"ant": 4, "bee": 4}}),
    Case("EuroSAT", numbered("2750/AnnualCrop", "2750/Forest"),
         {None: {"AnnualCrop": 4, "Forest": 4}}),
    Case("PlantVillage", [f"{v}/{c}/{i}.jpg" for v in ("color", "grayscale") for c in "ab"
         for i in range(3)], refused="hold folders of the same names", cure="--label-from parent"),
    Case("BreakHis", [f"breast/{c}/SOB/x/SOB_{n}/{z}/{c}{n}{z}.png" for c in ("benign", "malignant")
         for n in (1, 2) for z in ("40X", "100X")], {None: {"benign": 4, "malignant": 4}}),
    Case("ISIC", [f"images/ISIC_{i}.jpg" for i in range(4)],
         refused="no column is named label", cure="--label-column benign_malignant",
         files={"metadata.csv": lines_of(
             lambda i, row: row, ["isic_id,patient_id,benign_malignant", "ISIC_0,p1,benign",
             "ISIC_1,p1,benign", "ISIC_2,p2,malignant", "ISIC_3,p3,malignant"])}),
    Case("ISIC, one column per class", [f"images/ISIC_{i}.jpg" for i in range(4)],
         {None: {"MEL": 2, "NV": 2}}, "'MEL', 'NV' are read as one column per class",
         files={"GroundTruth.csv": "image,MEL,NV\nISIC_0,1.0,0.0\nISIC_1,1.0,0.0\n"
                "ISIC_2,0.0,1.0\nISIC_3,0.0,1.0\n"}),
    Case("GBIF", [f"images/{i}.jpg" for i in range(3)], refused="Darwin Core archive",
         cure="join the two by gbifID",
         files={"multimedia.txt": text("gbifID\ttype\tidentifier", *(
             f"{i}\tStillImage\thttp://x/{i}.jpg" for i in range(3)))}),
    Case("a CSV of Label Studio", [f"upload/{i}.jpg" for i in range(4)],
         {None: TWO}, "'choice' is read as the label", give="project.csv",
         files={"project.csv": text("image,id,choice,annotator", *(
             f"/data/upload/1/{i}.jpg,{i},{'ab'[i // 2]},1" for i in range(4)))}),
    Case("FiftyOne", [f"data/{i}.jpg" for i in range(4)], {None: TWO},
         "labels of 4 images are read from .*labels.json",
         files={"labels.json": '{"classes": ["a", "b"], "labels": '
                '{"0": 0, "1": 0, "2": 1, "3": 1}}'}),
    Case("classes that differ by case", [*numbered("Cats", "cats", "dogs", n=2)],
         {None: {"Cats": 2, "cats": 2, "dogs": 2}}),
    Case("a class folder with a blank at its end", numbered("cat ", "dog"),
         {None: {"cat": 4, "dog": 4}}),
    Case("classes named 0, unknown, train and test",
         numbered("0", "unknown", "train", "test"), refused="read like splits",
         cure="for classes, give the folders other names"),
    Case("what macOS and Windows leave", [*numbered("cat", "dog"), "__MACOSX/cat/._1.jpg"],
         {None: {"cat": 4, "dog": 4}}, left_out="cat/Thumbs.db",
         files={"cat/Thumbs.db": b"x", "dog/.DS_Store": b"x", "dog/._1.jpg": b"x"}),
    Case("names of WhatsApp", [f"{c}/IMG-20240101-WA00{k}{i}.jpg" for k, c in enumerate("ab")
         for i in range(4)], {None: {"a": 4, "b": 4}}),
    Case("every ending of pictures", [f"{c}/{c}{i}.{e}" for c in "ab" for i, e in enumerate(
         ("jfif", "jpe", "JPG", "webp", "avif", "heic", "HEIC"))], {None: {"a": 7, "b": 7}}),
    Case("archives of one class each", [], refused="there is no image in it",
         cure="unpack each archive into a folder of its name",
         files={"cats.zip": b"PK", "dogs.zip": b"PK"}),
    Case("parts of Google Drive", [], refused="there is no image in it",
         cure="unpack all of them into one folder",
         files={"p-20240101T101010Z-001.zip": b"PK", "p-20240101T101010Z-002.zip": b"PK"}),
]  # fmt: skip

TOGETHER = [
    Case("copies by suffix", [f"{c}/{c}{i}{s}.jpg" for c in "ab" for i in (0, 1)
         for s in ("", "_aug1", "_rot90", "-flip", " (mirrored)")], {None: {"a": 10, "b": 10}},
         "20 images are 4 pictures and augmented copies"),
    Case("copies by prefix", [f"{c}/{s}{c}{i}.jpg" for c in "ab" for i in (0, 1)
         for s in ("", "aug_", "flipped-")], {None: {"a": 6, "b": 6}}, "12 images are 4 pictures"),
    Case("copies in a folder", [f"{c}/{s}{c}{i}.jpg" for c in "ab" for i in (0, 1)
         for s in ("", "augmented/")], {None: {"a": 4, "b": 4}}, "8 images are 4 pictures"),
    Case("copies of Roboflow", [f"train/{c}/{c}{i}_jpg.rf.{h * 32}.jpg" for c in "ab"
         for i in (0, 1) for h in "0f"] + [f"valid/{c}/{c}9_jpg.rf.{'7' * 32}.jpg" for c in "ab"],
         {"train": {"a": 4, "b": 4}, "val": {"a": 1, "b": 1}}, "8 images are 4 pictures"),
    Case("copies of Keras", [f"{c}/img_{i}_{(i * 7919 + j * 3457) % 9973}.jpg" for c in "ab"
         for i in range(3) for j in range(3)], {None: {"a": 9, "b": 9}}, "18 images are 6"),
    Case("channels by stain", [f"{c}/{c}{i}_{s}.tif" for c in "ab" for i in (0, 1)
         for s in ("DAPI", "GFP")], {None: {"a": 4, "b": 4}}, "8 files seem to be the ch"),
    Case("channels by number", [f"{c}/{c}{i}_{s}.tif" for c in "ab" for i in (0, 1)
         for s in ("w1", "w2", "w3")], {None: {"a": 6, "b": 6}}, "12 files seem to be"),
    Case("channels by colour", [f"{c}/{c}{i}_{s}.png" for c in "ab" for i in (0, 1)
         for s in "RGB"], {None: {"a": 6, "b": 6}}, "12 files seem to be the channels of 4"),
]  # fmt: skip

NOT_COPIES = [
    Case("copies of nobody knows what", [f"{c}/{s}{c}{i}.jpg" for c in "ab" for i in (0, 1)
         for s in ("", "augmented/z")], {None: {"a": 4, "b": 4}}, "no name says of which"),
    Case("copies of Keras under one number", [f"{c}/aug_0_{(i * 3457) % 9973}.jpg" for c in "ab"
         for i in range(5)], {None: {"a": 5, "b": 5}}, "as Keras names augmented copies"),
    Case("frames of a film", [f"{c}/film_0_{1000 + i}.jpg" for c in "ab" for i in range(5)],
         {None: {"a": 5, "b": 5}}),
    Case("cameras, sizes and dates", [f"{c}/{s}.jpg" for c in "ab" for s in (
         "DSC_0001", "DSC_0002", "2024_05_1024", "2024_05_2048", "x_640", "x_1280", "rotunda_1")],
         {None: {"a": 7, "b": 7}}),
    Case("names of telephones", [f"{c}/IMG_{day}_{time}.jpg" for c in "ab" for day in (20240105,
         20240106, 20240214) for time in (101530, 154502, 235959)], {None: {"a": 9, "b": 9}}),
    Case("classes of turned pictures", numbered("rotated", "upright"),
         {None: {"rotated": 4, "upright": 4}}),
    Case("sides, which are no channels", [f"{c}/{c}{i}_{s}.jpg" for c in "ab" for i in (0, 1)
         for s in ("left", "right")], {None: {"a": 4, "b": 4}}),
]  # fmt: skip

CASES = [*FOLDERS, *IN_NAMES, *BESIDE, *MANIFESTS, *SETS, *TOGETHER, *NOT_COPIES]


def planted(case, folder):
    for name in case.images:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / case.give if case.give else folder


def learnable(config):
    """The table, as `train` takes it before it reads a picture."""
    table = read(config)
    refuse_unlearnable(table)
    return table


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_layout_is_known_or_refused_with_the_cure(case, tmp_path):
    config = RunConfig(str(planted(case, tmp_path)), **case.options)
    if case.refused:
        with pytest.raises(DataError, match=f"(?s){case.refused}") as caught:
            learnable(config)
        assert_in(case.cure, caught.value.cure)
        assert_check_finds_it(config, caught.value)
        return
    table = learnable(config)
    assert table.counts() == case.counts
    assert_told(table, case)
    checked = survey.check(config, quick=True)
    assert not checked.has_errors
    for finding in checked.findings:  # what is left alone is not where anything is from
        if re.search("not read|no column says|but the classes are those", finding.message):
            assert "are taken from it" not in finding.why, finding.message
    left_out = {os.path.relpath(entry.path, tmp_path) for entry in table.skipped}
    assert not case.left_out or case.left_out in left_out


def assert_in(pattern, text):
    assert re.search(pattern, text, re.DOTALL), text


def assert_told(table, case):
    words = [reading.words for reading in table.readings]
    if not case.told:
        assert words == []
        return
    assert_in(case.told, "\n".join(words))
    assert all(reading.mend for reading in table.readings)


def assert_check_finds_it(config, refusal):
    """`check` says the same, as an error or as a finding with the same cure."""
    found = found_by_check(config)
    assert found
    assert all(mend for _, mend in found)
    if "got 1" not in refusal.rule:
        assert (refusal.rule, refusal.cure) in found


def found_by_check(config):
    """What is wrong and the cure, whether it is refused or a finding."""
    try:
        checked = survey.check(config, quick=True)
    except DataError as error:
        return [(error.rule, error.cure)]
    return [(f.message, f.mend) for f in checked.findings if f.severity == "error"]


def test_the_battery_is_large():
    assert len({case.name for case in CASES}) == len(CASES) >= 160


@pytest.mark.parametrize("case", TOGETHER, ids=[case.name for case in TOGETHER])
def test_the_files_of_one_picture_are_one_group(case, tmp_path):
    table = read(RunConfig(str(planted(case, tmp_path))))
    letters = re.compile(r"[ab]\d|img_\d")
    picture = [
        (label, letters.search(os.path.basename(path))[0])
        for path, label in zip(table.paths, table.labels, strict=True)
    ]
    pairs = [(g, p) for g, p in zip(table.groups, picture, strict=True) if g is not None]
    assert len(pairs) >= len(table) - 2
    assert len(set(pairs)) == len({g for g, _ in pairs}) == len({p for _, p in pairs})


@pytest.mark.parametrize("case", NOT_COPIES, ids=[case.name for case in NOT_COPIES])
def test_what_no_name_tells_is_no_group(case, tmp_path):
    assert read(RunConfig(str(planted(case, tmp_path)))).groups is None


def test_what_the_user_says_belongs_together_stays(tmp_path):
    names = [f"{c}/{i}{s}.jpg" for c in "ab" for i in (0, 1) for s in ("", "_aug1")]
    rows = text("path,label,group", *(f"{name},{name[0]},{name[2]}" for name in names))
    table = read(RunConfig(str(planted(Case("", names, files={"m.csv": rows}, give="m.csv"),
                                       tmp_path))))  # fmt: skip
    assert set(table.groups) == {"0", "1"}


def test_files_that_are_elsewhere_are_named(tmp_path):
    files = {"cat/.7.jpg.icloud": b"bplist", "dog/9.jpg.crdownload": b"x"}
    table = read(RunConfig(str(planted(Case("", numbered("cat", "dog"), files=files), tmp_path))))
    assert [bad.reason for bad in table.rejected] == [
        "it lies in iCloud, and not on this disk",
        "its download was not finished (.crdownload)",
    ]


# Archives.


class Foreign(zipfile.ZipInfo):
    """A member whose name is written as bytes of a code page."""

    page = "cp437"

    def _encodeFilenameFlags(self):  # noqa: N802
        return self.filename.encode(self.page), self.flag_bits & ~0x800


def zip_of(path, page, *names):
    with zipfile.ZipFile(path, "w") as new:
        for name in names:
            member = Foreign(name)
            member.page = page
            new.writestr(member, JPEG)
    return path


def test_names_in_code_page_437_are_read_and_told(tmp_path):
    path = zip_of(tmp_path / "photos.zip", "cp437", "Käfer/1.jpg", "Bären/2.jpg")
    table = read_table(path, archive_folder=tmp_path / "cache")
    assert table.classes == ["Bären", "Käfer"]
    (reading,) = table.readings
    assert "code page 437" in reading.words
    assert "python -m zipfile --metadata-encoding" in reading.mend


@pytest.mark.parametrize(
    ("page", "name"), [("cp866", "кошки"), ("cp1252", "Käfer"), ("cp1251", "кошки")]
)
def test_names_in_another_code_page_are_refused_with_the_line_to_type(page, name, tmp_path):
    path = zip_of(tmp_path / "photos.zip", page, f"{name}/1.jpg", "ants/2.jpg")
    with pytest.raises(DataError, match="neither UTF-8 nor code page 437") as caught:
        read_table(path, archive_folder=tmp_path / "cache")
    assert name in caught.value.rule
    assert f"-e {path} {tmp_path / 'photos'}" in caught.value.cure


def test_names_in_utf8_without_their_mark_are_read(tmp_path):
    path = zip_of(tmp_path / "photos.zip", "utf-8", "кошки/1.jpg", "ants/2.jpg")
    table = read_table(path, archive_folder=tmp_path / "cache")
    assert (table.classes, table.readings) == (["ants", "кошки"], ())


def test_a_project_of_teachable_machine_is_read(tmp_path):
    path = tmp_path / "project.tm"
    with zipfile.ZipFile(path, "w") as new:
        for name in ("Class 1-!-0.png", "Class 1-!-1.png", "Class 2-!-0.png"):
            new.writestr(name, JPEG)
        new.writestr("manifest.json", "{}")
    table = read_table(path, archive_folder=tmp_path / "cache")
    assert table.counts() == {None: {"Class 1": 2, "Class 2": 1}}
    assert "Teachable Machine" in table.readings[0].words


def test_images_inside_parquet_are_refused_with_a_line_that_writes_them(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    rows = {"image": [{"bytes": JPEG, "path": "1.jpg"}] * 3, "label": ["ants", "ants", "bees"]}
    pl.DataFrame(rows).write_parquet(tmp_path / "train-00000.parquet")
    with pytest.raises(DataError, match="holds the images themselves") as caught:
        read_table(tmp_path / "train-00000.parquet")
    command = caught.value.cure.partition(": ")[2].partition("; and give DATA")[0]
    words = shlex.split(command)
    assert words[:2] == ["python", "-c"]
    subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True, timeout=60)
    assert read_table(tmp_path / "DATA").counts() == ALL


def test_a_part_of_several_archives_says_so(tmp_path: Path) -> None:
    for n in (1, 2):
        with zipfile.ZipFile(tmp_path / f"photos-2024T0Z-00{n}.zip", "w") as new:
            for label in ("ants", "bees"):
                new.writestr(f"photos/{label}/{n}.jpg", JPEG)
    table = read_table(tmp_path / "photos-2024T0Z-001.zip", archive_folder=tmp_path / "cache")
    (told,) = table.readings
    assert "'photos-2024T0Z-002.zip' beside it reads like another part" in told.words
    assert "into one folder" in told.mend


def test_what_is_refused_in_an_archive_is_named_as_the_user_knows_it(tmp_path):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as new:
        for name in [*each("data/train", "data/test"), *flat("docs")]:
            new.writestr(name, JPEG)
    with pytest.raises(DataError, match="holds splits of its own") as caught:
        read_table(path, archive_folder=tmp_path / "cache")
    assert "cache" not in str(caught.value)
    assert caught.value.cure.startswith("unpack the archive; then give that folder")


# --label-from, by every door.


def test_label_from_is_a_setting_of_a_run():
    config = RunConfig("photos", label_from="name")
    assert RunConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="'label_from' has no choice 'file'"):
        RunConfig("photos", label_from="file")


def test_label_from_reads_the_names_of_a_manifest_too(tmp_path):
    case = Case("", NAMES, files={"m.csv": "path\n" + "\n".join(NAMES)})
    planted(case, tmp_path)
    table = read_table(tmp_path / "m.csv", label_from="name")
    assert table.counts() == {None: CATS}


def test_images_that_a_table_lists_and_are_not_there_are_named(tmp_path):
    case = Case("", flat(""), files={"labels.csv": TABLE + "gone.jpg,bees\n"})
    table = read_table(planted(case, tmp_path))
    assert [Path(bad.path).name for bad in table.rejected] == ["gone.jpg"]
    assert "is listed in" in table.rejected[0].reason


def test_two_tables_that_differ_are_refused(tmp_path):
    other = TABLE.replace("2.jpg,ants", "2.jpg,bees")
    case = Case("", flat(""), files={"a.csv": TABLE, "b.csv": other})
    with pytest.raises(DataError, match="said twice"):
        read_table(planted(case, tmp_path))


def test_columns_for_a_folder_that_holds_a_manifest_say_to_give_that(tmp_path):
    case = Case("", IMAGES, files={"labels.csv": TABLE.replace("label", "lbl")})
    with pytest.raises(UsageError, match="manifest only") as caught:
        read_table(planted(case, tmp_path), label_column="lbl")
    assert caught.value.cure == f"give the manifest itself: {tmp_path / 'labels.csv'}"


def test_groups_of_a_table_beside_the_images_are_kept(tmp_path: Path) -> None:
    rows = text("file,label,group", "1.jpg,ants,a", "2.jpg,ants,a", "3.jpg,bees,c")
    table = read_table(planted(Case("", IMAGES, files={"labels.csv": rows}), tmp_path))
    assert table.groups is not None
    assert table.groups.tolist() == ["a", "a", "c"]


def test_a_table_that_labels_is_not_among_what_is_left_out(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")
    (tmp_path / "labels.csv").write_text("file;label\n1.jpg;ants\n2.jpg;bees\n")
    (tmp_path / "notes.csv").write_text("what;ever\n1;2\n")
    table = read_table(str(tmp_path))
    assert [reading.file for reading in table.readings] == [str(tmp_path / "labels.csv")]
    assert [Path(entry.path).name for entry in table.skipped] == ["notes.csv"]


@pytest.mark.parametrize("second", ["Train", "training"])
def test_two_folders_of_one_split_are_told(second: str, tmp_path: Path) -> None:
    for split in ("train", second, "test"):
        for label in ("ants", "bees"):
            (tmp_path / split / label).mkdir(parents=True)
            (tmp_path / split / label / f"{split}.jpg").write_bytes(b"\xff\xd8\xff")
    table = read_table(str(tmp_path))
    assert table.splits.tolist().count("train") == 4
    (told,) = table.readings
    assert "'train' is read as train" in told.words
    assert f"'{second}' is read as train" in told.words


def test_a_zip_in_a_zip_is_refused_with_what_unpacks_it(tmp_path: Path) -> None:
    path = tmp_path / "outer.zip"
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("data/inner.zip", b"PK")
    with pytest.raises(DataError, match="no image in it") as caught:
        read_table(path, archive_folder=tmp_path / "cache")
    assert f"python -m zipfile -e '{path}' '{tmp_path / 'outer'}'" in caught.value.cure


@pytest.mark.parametrize(
    "name", ["bees (1)", "bees - Copy", "bees Kopie", "Bees copy 2", "bees_old"]
)
def test_a_copied_class_folder_is_found(name: str, tmp_path: Path) -> None:
    planted(Case("", [*each(""), *flat(name)]), tmp_path)
    found = survey.check(RunConfig(str(tmp_path)), quick=True).findings
    (finding,) = [one for one in found if one.kind == "similar-class-names"]
    assert repr(name) in finding.message


@pytest.mark.parametrize("name", ["unlabeled", "no_label", "Unlabelled", "unsup"])
def test_a_class_of_what_nobody_labelled_is_found(name: str, tmp_path: Path) -> None:
    planted(Case("", [*each(""), *flat(name)]), tmp_path)
    found = survey.check(RunConfig(str(tmp_path)), quick=True).findings
    (finding,) = [one for one in found if one.kind == "named-unlabelled"]
    assert (finding.severity, repr(name) in finding.message) == ("warning", True)


@pytest.mark.parametrize(
    ("names", "is_told"),
    [
        (("2024-01-01", "2024-01-02"), True), (("20240101", "20240102_1530"), True),
        (("100CANON", "101CANON"), True), (("100APPLE", "101APPLE"), True),
        (("2024-01-01", "ants"), False), (("1", "2"), False), (("1990", "2000"), False),
    ],
)  # fmt: skip
def test_classes_called_after_days_or_cameras_are_found(
    names: tuple[str, ...], is_told: bool, tmp_path: Path
) -> None:
    planted(Case("", [path for name in names for path in flat(name)]), tmp_path)
    found = survey.check(RunConfig(str(tmp_path)), quick=True).findings
    assert ("named-after-time" in [one.kind for one in found]) == is_told


def test_numbers_written_otherwise_are_named_as_what_was_meant(tmp_path: Path) -> None:
    images = [*flat("train/00000"), *flat("train/00001"), *flat("test/0"), *flat("test/1")]
    planted(Case("", images), tmp_path)
    found = survey.check(RunConfig(str(tmp_path)), quick=True).findings
    (finding,) = [one for one in found if one.kind == "class-not-in-train"]
    assert "is '00000', '00001' meant? Then rename" in finding.mend


def test_a_copy_of_a_picture_that_has_copies_by_name_goes_with_them(tmp_path: Path) -> None:
    """By content one, by name in no group: without it, a division could leak by itself."""
    chance = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(12):
            pixels = chance.integers(0, 255, (48, 48, 3), dtype=np.uint8)
            for name in (f"{label}{i}", f"other{i}x"):  # the same file under another name
                Image.fromarray(pixels).save(tmp_path / label / f"{name}.png")
            Image.fromarray(pixels[::-1]).save(tmp_path / label / f"{label}{i}_rot180.png")
    found = prepare(RunConfig(str(tmp_path), test_fraction=0.4)).table
    number = re.compile(r"\d+")
    split_of: dict[tuple[str, str], set[str]] = {}
    for path, label, split in zip(found.paths, found.labels, found.splits, strict=True):
        one = number.search(os.path.basename(path))
        assert one is not None
        split_of.setdefault((label, one[0]), set()).add(split)
    assert len(split_of) == 24
    assert all(len(splits) == 1 for splits in split_of.values())


def test_numbered_lists_are_each_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each image: 12,000 of them took as many readings of a list as long."""
    from regraft.data import numbered_lists

    opened: list[str] = []
    pairs = numbered_lists._pairs

    def counted(folder: str, name: str) -> dict[str, str]:
        opened.append(name)
        return pairs(folder, name)

    monkeypatch.setattr(numbered_lists, "_pairs", counted)
    n = 12
    for i in range(n):
        (tmp_path / "images" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(tmp_path / f"images/{'ab'[i % 2]}/{i}.png")
    lines = {
        "images.txt": [f"{i} {'ab'[i % 2]}/{i}.png" for i in range(n)],
        "train_test_split.txt": [f"{i} {int(i < 8)}" for i in range(n)],
    }
    for name, text in lines.items():
        (tmp_path / name).write_text("\n".join(text))
    table = read_table(tmp_path)
    assert {*table.splits} == {"train", "test"}
    assert sorted(opened) == sorted({*opened})
