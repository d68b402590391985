// SPDX-License-Identifier: Apache-2.0
// A recipe read from the very bytes that owners approve (enclave/spec/recipe.md): what it asks, what may leave, and the
// hashes that stand on chain, all computed here. Only the bytes that rendering writes for what was read are accepted, so
// nothing can stand in them that is not shown: no script, no second service, no field that this page does not know.
// Whether the columns' types fit their use is left to the enclave, which runs no such study.
"use strict";

const Recipe = (() => {
  const MAX_BYTES = 256 * 1024;
  const MAX_ANALYSIS_BYTES = 128 * 1024;
  const OWNER = /^[A-Za-z][A-Za-z0-9-]{0,30}$/;
  const DATASET = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
  const COLUMN = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
  const FIELD = /^[a-z][a-z0-9_]{0,62}$/;
  const STUDY = /^[a-z0-9][a-z0-9-]{0,62}$/;
  const IMAGE = /^[a-z0-9]+(?:[.-][a-z0-9]+)*(?::[0-9]{1,5})?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+@sha256:[0-9a-f]{64}$/;
  const TYPES = ["int64", "float64", "string", "bool"];
  const SOCKET = "/var/run/dstack.sock";

  const refuse = (message) => {
    throw new Error("The recipe’s bytes break a rule of recipes: " + message + ".");
  };

  const demand = (holds, message) => holds || refuse(message);

  const map = (object) => new Map(Object.entries(object));

  // --- numbers: one text for each value, and exact sums ------------------------------------------

  const PLACES = 160n;

  // A decimal in its one text form, in units of 10^-160.
  const decimal = (text) => {
    const found = /^(-?)(0|[1-9][0-9]{0,12})(?:\.([0-9]{0,23}[1-9]))?(?:e-([1-9][0-9]?))?$/.exec(typeof text === "string" ? text : "");
    demand(found && text !== "-0", "a number is not in its one form");
    const [, sign, whole, part = "", tens = "0"] = found;
    const digits = BigInt(whole + part);
    // Small numbers, and no others, are written with one digit before the point and their tens.
    const small = /^0\.0000/.test(whole + "." + part) && digits !== 0n;
    demand(tens === "0" ? !small : whole.length === 1 && whole !== "0" && Number(tens) > 4, "a number is not in its one form");
    demand((whole + part).replace(/^0+|0+$/g, "").length <= 24, "a number has too many digits");
    const value = digits * 10n ** (PLACES - BigInt(part.length) - BigInt(tens));
    demand(value <= 10n ** (12n + PLACES), "a number is too large");
    return sign ? -value : value;
  };

  const roundedUp = (value, places) => {
    const unit = 10n ** (PLACES - BigInt(places));
    return (value + unit - 1n) / unit;
  };

  const sum = (texts) => texts.reduce((total, text) => total + decimal(text), 0n);

  // --- reading, member by member ------------------------------------------------------------------

  const object = (value, what) => demand(value instanceof Map, what + " is no mapping") && value;

  const text = (value, pattern, what) => demand(typeof value === "string" && pattern.test(value), what + " is not what it must be") && value;

  const integer = (value, low, high, what) => demand(Number.isSafeInteger(value) && value >= low && value <= high, what + " is out of range") && value;

  const list = (value, most, what) => demand(Array.isArray(value) && value.length <= most, what + " is no list, or too long") && value;

  const range = (field, name) => {
    demand(decimal(field.get("lower")) < decimal(field.get("upper")), name + " has a lower bound that is not below the upper one");
    return { lower: field.get("lower"), upper: field.get("upper") };
  };

  const readDataset = (value) => {
    const columns = object(object(value, "a dataset").get("columns"), "the columns");
    demand(columns.size > 0 && columns.size <= 1024, "a dataset has no columns, or too many");
    for (const [name, kind] of columns) demand(COLUMN.test(name) && TYPES.includes(kind), "a column is not what it must be");
    return { owner: text(value.get("owner"), OWNER, "an owner"), name: text(value.get("name"), DATASET, "a dataset’s name"), columns };
  };

  const readPrivacy = (value) => {
    object(value, "privacy");
    demand(decimal(value.get("epsilon")) > 0n && decimal(value.get("epsilon")) <= 20n * 10n ** PLACES, "ε is out of range");
    demand(decimal(value.get("delta")) >= 0n && decimal(value.get("delta")) <= 10n ** (PLACES - 4n), "δ is out of range");
    return {
      unit: text(value.get("unit"), COLUMN, "the unit"),
      adjacency: text(value.get("adjacency"), /^add-remove$/, "the adjacency"),
      epsilon: value.get("epsilon"),
      delta: value.get("delta"),
      minimum_cohort: integer(value.get("minimum_cohort"), 1, 1000000, "the smallest cohort"),
      release_slot_seconds: integer(value.get("release_slot_seconds"), 1, 3600, "the release slot"),
    };
  };

  const readField = (value) => {
    const name = text(object(value, "a field").get("name"), FIELD, "a field’s name");
    const kind = value.get("kind");
    const epsilon = value.get("epsilon");
    demand(decimal(epsilon) > 0n, name + " costs no ε");
    const by = () => list(value.get("by"), 4, "the groups of " + name);
    const decimals = () => integer(value.get("decimals"), 0, 12, "the decimals of " + name);
    if (kind === "count") return { name, kind, by: by(), epsilon };
    if (kind === "mean") return { name, kind, column: text(value.get("column"), COLUMN, "a column"), by: by(), ...range(value, name), decimals: decimals(), epsilon };
    demand(kind === "logistic", name + " is of no known kind");
    const features = list(value.get("features"), 64, "the features").map((one) => map({ name: text(object(one, "a feature").get("name"), COLUMN, "a feature"), ...range(one, name) }));
    demand(features.length && new Set(features.map((one) => one.get("name"))).size === features.length, name + " must have features, each once");
    for (const positive of ["clip", "learning_rate", "delta"]) demand(decimal(value.get(positive)) > 0n, name + " needs a " + positive + " above 0");
    return {
      name,
      kind,
      features,
      label: text(value.get("label"), COLUMN, "a label"),
      clip: value.get("clip"),
      steps: integer(value.get("steps"), 1, 10000, "the steps"),
      learning_rate: value.get("learning_rate"),
      ...range(value, name),
      decimals: decimals(),
      epsilon,
      delta: value.get("delta"),
    };
  };

  const readOutput = (value) => {
    const groups = object(object(value, "output").get("groups"), "the groups");
    for (const [name, keys] of groups) {
      demand(COLUMN.test(name) && list(keys, 256, name).length && new Set(keys).size === keys.length, "a group is not what it must be");
      for (const key of keys) demand(typeof key === "string" && key && [...key].length <= 64 && Canonical.isPrintable(key), "a key of a group is not short text");
    }
    const fields = list(value.get("fields"), 64, "the fields").map(readField);
    demand(fields.length && new Set(fields.map((one) => one.name)).size === fields.length, "fields must each have a name of their own");
    for (const field of fields) {
      const by = field.by ?? [];
      demand(new Set(by).size === by.length && by.every((one) => groups.has(one)), field.name + " is by a group that is not declared");
      demand(by.reduce((cells, one) => cells * groups.get(one).length, 1) <= 4096, field.name + " has too many cells");
    }
    return { limit_bytes: integer(value.get("limit_bytes"), 1, 65536, "the limit"), fields, groups };
  };

  // --- rendering ---------------------------------------------------------------------------------

  const service = (image) =>
    map({
      image,
      restart: "no",
      read_only: true,
      cap_drop: ["ALL"],
      security_opt: ["no-new-privileges:true"],
      logging: map({ driver: "none" }),
      tmpfs: ["/tmp"],
      volumes: [SOCKET + ":" + SOCKET],
    });

  const render = (recipe, privacy, output) => {
    const section = map({
      version: 1,
      study: recipe.name,
      question: recipe.question,
      gpu: "none",
      datasets: recipe.datasets.map(map),
      privacy,
      output,
      analysis: recipe.analysis,
    });
    const compose = Canonical.yaml(map({ services: map({ enclave: service(recipe.image) }), "x-sealroom": section }));
    return Canonical.json(
      map({
        manifest_version: 2,
        name: recipe.name,
        runner: "docker-compose",
        docker_compose_file: compose,
        features: ["kms"],
        kms_enabled: true,
        key_provider: "kms",
        local_key_provider_enabled: false,
        gateway_enabled: false,
        public_logs: false,
        public_sysinfo: false,
        public_tcbinfo: false,
        no_instance_id: false,
        secure_time: true,
        allowed_envs: [],
      }),
    );
  };

  const sha256 = async (bytes) => "0x" + Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  const hashOf = (value) => sha256(new TextEncoder().encode(Canonical.json(value)));

  // SHA-256 of a dataset's columns as [name, type], sorted by name: what its owner registered of it.
  const schemaHash = (columns) => hashOf([...columns].sort(([one], [other]) => (one < other ? -1 : 1)));

  // Read a recipe's bytes, an ArrayBuffer. Throws unless they obey every rule.
  const read = async (bytes) => {
    demand(bytes.byteLength <= MAX_BYTES, "it is larger than 256 KiB");
    const frame = Canonical.readJson(bytes);
    const compose = frame.get("docker_compose_file");
    demand(typeof compose === "string" && !compose.includes("$"), "it has no docker_compose_file without a $");
    const parts = Canonical.readYaml(compose);
    const section = object(parts.get("x-sealroom"), "x-sealroom");
    const enclave = object(object(parts.get("services"), "services").get("enclave"), "the service");
    const recipe = {
      name: text(section.get("study"), STUDY, "the study’s name"),
      question: text(section.get("question"), /^.{1,500}$/u, "the question"),
      image: text(enclave.get("image"), IMAGE, "the image"),
      datasets: list(section.get("datasets"), 16, "the datasets").map(readDataset),
      privacy: readPrivacy(section.get("privacy")),
      output: readOutput(section.get("output")),
      analysis: text(section.get("analysis"), /\n$/, "the analysis"),
    };
    const { datasets, privacy, output } = recipe;
    demand(recipe.image.length <= 255, "the image’s name is too long");
    demand(Canonical.isBlockText(recipe.analysis) && new TextEncoder().encode(recipe.analysis).length <= MAX_ANALYSIS_BYTES, "the analysis is not plain printable text");
    demand(datasets.length && new Set(datasets.map((one) => (one.owner + "/" + one.name).toLowerCase())).size === datasets.length, "datasets must each stand once");
    for (const one of datasets) demand(one.columns.has(privacy.unit), "a dataset lacks the column of the person");
    const [epsilon, delta] = [sum(output.fields.map((one) => one.epsilon)), sum(output.fields.map((one) => one.delta ?? "0"))];
    demand(epsilon === decimal(privacy.epsilon) && delta === decimal(privacy.delta), "the fields do not cost what the policy says");
    const sections = [map(privacy), map({ ...output, fields: output.fields.map(map) })];
    demand(new TextDecoder().decode(bytes) === render(recipe, ...sections), "they hold more, or other things, than a recipe has");
    return Object.freeze({
      ...recipe,
      bytes: bytes.byteLength,
      composeHash: await sha256(bytes),
      privacyHash: await hashOf(sections[0]),
      outputHash: await hashOf(sections[1]),
      epsilonMicro: roundedUp(epsilon, 6),
      deltaPico: roundedUp(delta, 12),
    });
  };

  return Object.freeze({ read, schemaHash });
})();
