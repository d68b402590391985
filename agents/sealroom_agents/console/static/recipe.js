// SPDX-License-Identifier: Apache-2.0
// A recipe read from the very bytes that owners approve (enclave/spec/recipe.md): what it asks, what may leave, and the
// hashes that stand on chain, all computed here. Only the bytes that rendering writes for what was read are accepted, so
// nothing can stand in them that is not shown: no script, no second service, no member of a field.
// Whether a field obeys its kind and fits its columns is left to the enclave, which runs no other study.
"use strict";

const Recipe = (() => {
  const MAX_BYTES = 256 * 1024;
  const MAX_ANALYSIS_BYTES = 128 * 1024;
  const OWNER = /^[A-Za-z][A-Za-z0-9-]{0,30}$/;
  const DATASET = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
  const SCHEMA = /^[a-z][a-z0-9_]{0,62}$/;
  const FIELD = /^[a-z][a-z0-9_]{0,62}$/;
  const KIND = /^[a-z][a-z0-9_]{0,31}$/;
  const STUDY = /^[a-z0-9][a-z0-9-]{0,62}$/;
  const IMAGE = /^[a-z0-9]+(?:[.-][a-z0-9]+)*(?::[0-9]{1,5})?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+@sha256:[0-9a-f]{64}$/;
  const PLAIN_TYPE = /^(?:u?int(?:8|16|32|64)|float(?:16|32|64)|bool|string|binary|date|time\((?:ms|us|ns)\)|timestamp\((?:ms|us|ns)(?:, UTC)?\))$/;
  const SIZED_TYPE = /^(?:decimal\(([1-9][0-9]?), (0|[1-9][0-9]?)\)|binary\(([1-9][0-9]{0,3})\))$/;
  const UNIT_TYPE = /^(?:u?int(?:8|16|32|64)|string)$/;
  const MOST_COLUMNS = 16384;
  const MOST_NESTING = 4;
  const SOCKET = "/var/run/dstack.sock";
  const CHANNEL = "channel:/run/sealroom";

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

  // --- what the fields cost together (enclave/spec/recipe.md, “Budget”) ---------------------------

  const MICRO = 1e6;
  const NANO = 1e9;
  const ALONE = 8;
  const ORDERS = [...Array(31).keys()].map((n) => n + 2).concat([...Array(36).keys()].map((n) => Math.ceil(32 * 1.1 ** (n + 1))));
  const SHARE = /^([1-9][0-9]{0,8})(?:\/([1-9][0-9]{0,8}))?$/;
  // How much larger than allowed a δ may come out for the rounding of floating-point numbers.
  const ROUNDING = 1 + 1e-6;

  const density = (x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);

  // Φ(−x): its series around zero, its continued fraction beyond.
  const beyond = (x) => {
    if (x >= 3) {
      let fraction = x;
      for (let k = 90; k > 0; k--) fraction = x + k / fraction;
      return density(x) / fraction;
    }
    if (x < -8) return 1;
    let [term, total] = [x, x];
    for (let odd = 3; Math.abs(term) > 1e-18; odd += 2) total += term *= (x * x) / odd;
    return 0.5 - density(x) * total;
  };

  // ln C(n, k) for all k.
  const logChoose = (n) => {
    const found = [0];
    for (let k = 1; k <= n; k++) found.push(found[k - 1] + Math.log((n - k + 1) / k));
    return found;
  };

  const ofOrder = (order) => order * Math.log1p(-1 / order) - Math.log(order - 1);

  // What Rényi differential privacy says of the draws over some of the people and of all others, by order.
  const moments = (squared, sampled, most) => {
    const found = [];
    let before = Infinity;
    for (const order of ORDERS) {
      let moment = (order * (order - 1) * squared) / 2;
      const choose = logChoose(order);
      for (const { rate, draws, once } of sampled) {
        let grown = 0;
        for (let k = 2; k <= order; k++) grown += Math.exp(choose[k] + k * Math.log(rate) + (order - k) * Math.log1p(-rate)) * Math.expm1((k * (k - 1) * once) / 2);
        moment += draws * Math.log1p(grown);
      }
      if (!Number.isFinite(moment)) break;
      found.push([order, moment]);
      const exponent = moment - (order - 1) * most + ofOrder(order);
      if (!(exponent <= before)) break;
      before = exponent;
    }
    return found;
  };

  const deltaOf = (epsilon, pure, apart, sampled) => {
    const rising = [...pure].sort((one, other) => one - other);
    const merged = Math.max(rising.length - ALONE + 1, 1);
    const alone = rising.length ? [rising.slice(0, merged).reduce((one, other) => one + other), ...rising.slice(merged)] : [];
    const losses = alone.reduce(
      (before, each) => {
        const up = 1 / (1 + Math.exp(-each / MICRO));
        const after = new Map();
        for (const [loss, weight] of before) {
          for (const [moved, part] of [[loss + each, weight * up], [loss - each, weight * (1 - up)]]) after.set(moved, (after.get(moved) ?? 0) + part);
        }
        return after;
      },
      new Map([[0, 1]]),
    );
    const mu = Math.sqrt(apart ** 2 + sampled.reduce((all, one) => all + one.draws * one.once, 0));
    const most = Math.max(...[...losses.keys()].map((loss) => Math.abs(epsilon - loss / MICRO)));
    const orders = sampled.length ? moments(apart ** 2, sampled, most) : [];
    let total = 0;
    for (const [loss, weight] of losses) {
      const rest = epsilon - loss / MICRO;
      const full = Math.max(0, mu ? beyond(rest / mu - mu / 2) - Math.exp(rest) * beyond(rest / mu + mu / 2) : -Math.expm1(rest));
      const far = Math.exp(Math.min(0, ...orders.map(([order, moment]) => moment - (order - 1) * Math.abs(rest) + ofOrder(order))));
      total += weight * Math.min(full, rest >= 0 ? far : -Math.expm1(rest) + Math.exp(rest) * far);
    }
    return total;
  };

  const holds = (fields, epsilon, delta) => {
    const pure = fields.filter((one) => one.law === "laplace").map((one) => one.cost);
    const gaussian = fields.filter((one) => one.law === "gaussian");
    const mus = gaussian.map((one) => (one.cost / NANO) * Math.sqrt(Math.max(0, 1 - one.sampled.reduce((all, draw) => all + draw.share, 0))));
    const sampled = gaussian.flatMap((one) =>
      one.sampled.map(({ draws, rate, share }) => ({ rate, draws, once: Math.log1p(((one.cost / NANO) ** 2 * share) / draws / rate ** 2) })),
    );
    const unit = 10n ** (PLACES - 6n);
    if (!mus.length && BigInt(pure.reduce((one, other) => one + other, 0)) * unit <= decimal(epsilon)) return true;
    const kept = Number(epsilon) - (mus.length ? 1 / MICRO : 0);
    return kept >= 0 && Number(delta) > 0 && deltaOf(kept, pure, Math.hypot(...mus), sampled) <= Number(delta) * ROUNDING;
  };

  // --- reading, member by member ------------------------------------------------------------------

  const object = (value, what) => demand(value instanceof Map, what + " is no mapping") && value;

  const text = (value, pattern, what) => demand(typeof value === "string" && pattern.test(value), what + " is not what it must be") && value;

  const integer = (value, low, high, what) => demand(Number.isSafeInteger(value) && value >= low && value <= high, what + " is out of range") && value;

  const list = (value, most, what) => demand(Array.isArray(value) && value.length <= most, what + " is no list, or too long") && value;

  // A column's name in any script: one form, nothing in it that cannot be seen.
  const columnName = (value, what) =>
    demand(
      typeof value === "string" &&
        value !== "" &&
        new TextEncoder().encode(value).length <= 255 &&
        Canonical.isPrintable(value) &&
        value.normalize("NFC") === value &&
        !value.startsWith(" ") &&
        !value.endsWith(" "),
      what + " is no name of a column",
    ) && value;

  const isPlainType = (text) => {
    const [, precision, scale, length] = SIZED_TYPE.exec(text) ?? [];
    if (length) return Number(length) <= 4096;
    return precision ? Number(precision) <= 76 && Number(scale) <= Number(precision) : PLAIN_TYPE.test(text);
  };

  const readNamed = (value, what, nesting) => {
    const names = [...object(value, what).keys()];
    demand(names.length > 0 && new Set(names.map((name) => columnName(name, what).toLowerCase())).size === names.length, what + " has no columns, or one twice");
    for (const kind of value.values()) readType(kind, nesting);
    return value;
  };

  // A column's type in its one written form, a text or a mapping; it stays what it is.
  const readType = (value, nesting) => {
    if (typeof value === "string") return demand(isPlainType(value), "a column has a type that is none") && value;
    const names = [...object(value, "a column’s type").keys()].filter((name) => name !== "nullable").join();
    const type = value.get("type");
    demand(!value.has("nullable") || value.get("nullable") === false, "a column’s nullable is written where it is false");
    demand((type !== "list" && type !== "struct") || nesting > 0, "lists and structs lie too deep");
    if (type === "list") demand(names === "type,of" && readType(value.get("of"), nesting - 1), "a list is not what it must be");
    else if (type === "struct") demand(names === "type,fields" && readNamed(value.get("fields"), "a struct", nesting - 1).size <= 1024, "a struct is not what it must be");
    else if (type === "category") {
      const values = list(value.get("values"), 4096, "a category");
      demand(names === "type,values" && values.length && new Set(values).size === values.length, "a category is not what it must be");
      for (const one of values) demand(typeof one === "string" && one && [...one].length <= 64 && Canonical.isPrintable(one), "a value of a category is not short text");
    } else demand(names === "type" && isPlainType(type) && value.has("nullable"), "a column has a type that is none");
    return value;
  };

  const leaves = (kind) => {
    if (!(kind instanceof Map)) return 1;
    if (kind.get("type") === "list") return leaves(kind.get("of"));
    return kind.get("type") === "struct" ? [...kind.get("fields").values()].reduce((all, one) => all + leaves(one), 0) : 1;
  };

  // A type as files have it, and without a word on nulls.
  const bare = (kind) => {
    if (!(kind instanceof Map)) return kind;
    const type = kind.get("type");
    if (type === "list") return map({ type, of: bare(kind.get("of")) });
    if (type === "struct") return map({ type, fields: new Map([...kind.get("fields")].map(([name, one]) => [name, bare(one)])) });
    return type === "category" ? "string" : type;
  };

  // A type in one line, for people.
  const typeText = (kind) => {
    if (!(kind instanceof Map)) return kind;
    const type = kind.get("type");
    const words = {
      list: () => "list of " + typeText(kind.get("of")),
      struct: () => "struct of " + [...kind.get("fields")].map(([name, one]) => name + " " + typeText(one)).join(", "),
      category: () => "category of " + kind.get("values").join(", "),
    };
    return (Object.hasOwn(words, type) ? words[type]() : type) + (kind.get("nullable") === false ? " without nulls" : "");
  };

  const readSchema = ([name, value]) => {
    text(name, SCHEMA, "a schema’s name");
    const columns = readNamed(object(value, "a schema").get("columns"), "a schema", MOST_NESTING);
    demand([...columns.values()].reduce((all, kind) => all + leaves(kind), 0) <= MOST_COLUMNS, "a schema has too many columns");
    const unit = columnName(value.get("unit"), "the unit");
    demand(columns.has(unit) && UNIT_TYPE.test(bare(columns.get(unit))) && !(columns.get(unit) instanceof Map && columns.get(unit).get("type") === "category"), "a schema lacks the column of the person, or it has an unfit type");
    return [name, { unit, columns }];
  };

  const readDataset = (schemas) => (value) => {
    const place = { owner: text(object(value, "a dataset").get("owner"), OWNER, "an owner"), name: text(value.get("name"), DATASET, "a dataset’s name") };
    if (value.get("kind") === "files") return { ...place, kind: "files" };
    demand(schemas.has(value.get("schema")), "a dataset is of no declared schema");
    return { ...place, schema: value.get("schema") };
  };

  const readPrivacy = (value) => {
    object(value, "privacy");
    demand(decimal(value.get("epsilon")) > 0n && decimal(value.get("epsilon")) <= 20n * 10n ** PLACES, "ε is out of range");
    demand(decimal(value.get("delta")) >= 0n && decimal(value.get("delta")) <= 10n ** (PLACES - 4n), "δ is out of range");
    return {
      adjacency: text(value.get("adjacency"), /^add-remove$/, "the adjacency"),
      epsilon: value.get("epsilon"),
      delta: value.get("delta"),
      minimum_cohort: integer(value.get("minimum_cohort"), 1, 1000000, "the smallest cohort"),
      release_after_seconds: integer(value.get("release_after_seconds"), 10, 86400, "the instant of release"),
    };
  };

  // What a field's kind declares stays as it is, each mapping by name: all of it is shown, and the enclave runs nothing
  // that breaks a rule of its kind.
  const ordered = (value) => {
    if (Array.isArray(value)) return value.map(ordered);
    if (!(value instanceof Map)) return value;
    return new Map([...value].sort(([one], [other]) => (one < other ? -1 : 1)).map(([name, item]) => [name, ordered(item)]));
  };

  // Draws over some of the people: their number, each person's chance, and their share of the field's cost.
  const readDraws = (value) => {
    demand([...object(value, "draws").keys()].sort().join() === "draws,rate,share", "draws are not what they must be");
    const [, above, below] = SHARE.exec(value.get("share")) ?? [];
    demand(above && Number(above) <= Number(below ?? 1), "a share of draws is none");
    return {
      draws: integer(value.get("draws"), 1, 10 ** 7, "the number of draws"),
      rate: integer(value.get("rate"), 1, 2 ** 32 - 1, "the rate of draws") / 2 ** 32,
      share: Number(above) / Number(below ?? 1),
    };
  };

  const readField = (value) => {
    const name = text(object(value, "a field").get("name"), FIELD, "a field’s name");
    const kind = text(value.get("kind"), KIND, "the kind of " + name);
    const law = text(value.get("law"), /^(?:laplace|gaussian)$/, "the law of " + name);
    const member = law === "laplace" ? "epsilon_micro" : "mu_nano";
    const cost = integer(value.get(member), 1, law === "laplace" ? 100 * MICRO : 20 * NANO, "the cost of " + name);
    const stated = value.has("sampled") ? list(value.get("sampled"), 8, "the draws of " + name) : [];
    demand(!value.has("sampled") || (law === "gaussian" && stated.length), "the draws of " + name + " are none");
    const sampled = stated.map(readDraws);
    const draws = stated.length ? [["sampled", stated.map(ordered)]] : [];
    const declared = ordered(new Map([...value].filter(([one]) => !["name", "kind", "law", member, "sampled"].includes(one))));
    const plain = new Map([["name", name], ["kind", kind], ...declared, ["law", law], [member, cost], ...draws]);
    return { name, kind, declared, law, cost, sampled, plain };
  };

  // A network whose output is a column: where its weights are, and all else as a field's own members.
  const readNetwork = (datasets) => (value) => {
    const name = columnName(object(value, "a network").get("name"), "a network’s name");
    const weights = object(value.get("weights"), "the weights of " + name);
    const sealed = datasets.find((one) => one.kind === "files" && one.owner === weights.get("owner") && one.name === weights.get("name"));
    demand(sealed || typeof weights.get("base64") === "string", "the weights of " + name + " are nowhere");
    const declared = ordered(new Map([...value].filter(([one]) => one !== "name")));
    return { name, declared, plain: new Map([["name", name], ...declared]) };
  };

  // What the recipe promises, by a name of the model's table.
  const readGuarantee = (name) => demand(typeof name === "string" && Object.hasOwn(Model.guarantees, name), "the guarantee is none") && Model.guarantees[name];

  const readOutput = (value) => {
    const groups = object(object(value, "output").get("groups"), "the groups");
    for (const [name, keys] of groups) {
      demand(columnName(name, "a group") && list(keys, 256, name).length && new Set(keys).size === keys.length, "a group is not what it must be");
      for (const key of keys) demand(typeof key === "string" && key && [...key].length <= 64 && Canonical.isPrintable(key), "a key of a group is not short text");
    }
    const fields = list(value.get("fields"), 64, "the fields").map(readField);
    demand(fields.length && new Set(fields.map((one) => one.name)).size === fields.length, "fields must each have a name of their own");
    return { limit_bytes: integer(value.get("limit_bytes"), 1, 1048576, "the limit"), fields, groups };
  };

  // --- rendering ---------------------------------------------------------------------------------

  // What is the same in both services, then what each has besides.
  const service = (image, more) =>
    map({
      image,
      restart: "no",
      read_only: true,
      cap_drop: ["ALL"],
      security_opt: ["no-new-privileges:true"],
      logging: map({ driver: "none" }),
      ...more,
    });

  const services = (image) =>
    map({
      enclave: service(image, { tmpfs: ["/tmp"], volumes: [SOCKET + ":" + SOCKET, CHANNEL] }),
      job: service(image, {
        command: ["job"],
        user: "65532:65532",
        network_mode: "none",
        pids_limit: 2048,
        mem_limit: "64g",
        volumes: [CHANNEL],
      }),
    });

  const VOLUMES = map({ channel: map({ driver_opts: map({ type: "tmpfs", device: "tmpfs", o: "size=64k,mode=1777" }) }) });

  const render = (recipe, privacy, output) => {
    const section = map({
      version: 2,
      study: recipe.name,
      question: recipe.question,
      gpu: "none",
      guarantee: recipe.guarantee.name,
      schemas: new Map([...recipe.schemas].map(([name, schema]) => [name, map(schema)])),
      datasets: recipe.datasets.map(map),
      privacy,
      output,
      ...(recipe.blocks ? { blocks: recipe.blocks } : {}),
      ...(recipe.relation ? { relation: map(recipe.relation) } : { analysis: recipe.analysis }),
      ...(recipe.networks.length ? { inference: recipe.networks.map((one) => one.plain) } : {}),
    });
    const compose = Canonical.yaml(map({ services: services(recipe.image), volumes: VOLUMES, "x-sealroom": section }));
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
  const schemaHash = (columns) => hashOf([...columns].map(([name, kind]) => [name, bare(kind)]).sort(([one], [other]) => (one < other ? -1 : 1)));

  // The SQL of a relation is read as text: which SQL has a rule, the server and `sealroom relation` say.
  const readRelation = (value) => {
    const relation = {
      rows: integer(object(value, "the relation").get("rows"), 1, 100000, "the rows a person"),
      ...(value.has("people") ? { people: integer(value.get("people"), 1, 10000000000, "the number of people") } : {}),
      sql: text(value.get("sql"), /\n$/, "the SQL"),
    };
    demand(Canonical.isBlockText(relation.sql) && relation.sql.length <= 20000, "the SQL is not plain printable text");
    return relation;
  };

  // Read a recipe's bytes, an ArrayBuffer. Throws unless they obey every rule.
  const read = async (bytes) => {
    demand(bytes.byteLength <= MAX_BYTES, "it is larger than 256 KiB");
    const frame = Canonical.readJson(bytes);
    const compose = frame.get("docker_compose_file");
    demand(typeof compose === "string" && !compose.includes("$"), "it has no docker_compose_file without a $");
    const parts = Canonical.readYaml(compose);
    const section = object(parts.get("x-sealroom"), "x-sealroom");
    const enclave = object(object(parts.get("services"), "services").get("enclave"), "the service");
    const guarantee = readGuarantee(section.get("guarantee"));
    const schemas = new Map([...object(section.get("schemas"), "the schemas")].map(readSchema));
    demand(schemas.size > 0 && schemas.size <= 16, "it has no schemas, or too many");
    const recipe = {
      name: text(section.get("study"), STUDY, "the study’s name"),
      question: text(section.get("question"), /^.{1,500}$/u, "the question"),
      image: text(enclave.get("image"), IMAGE, "the image"),
      guarantee,
      schemas,
      datasets: list(section.get("datasets"), 16, "the datasets").map(readDataset(schemas)),
      privacy: readPrivacy(section.get("privacy")),
      output: readOutput(section.get("output")),
      relation: guarantee.byScript ? null : readRelation(section.get("relation")),
      blocks: guarantee.name === "by-blocks" ? integer(section.get("blocks"), 8, 4096, "the number of blocks") : null,
      analysis: guarantee.byScript ? text(section.get("analysis"), /\n$/, "the analysis") : "",
    };
    const { datasets, privacy, output } = recipe;
    recipe.networks = section.has("inference") ? list(section.get("inference"), 16, "the networks").map(readNetwork(datasets)) : [];
    demand(recipe.relation || !recipe.networks.length, "only a relation gives its columns to networks");
    demand(recipe.image.length <= 255, "the image’s name is too long");
    demand(recipe.relation || (Canonical.isBlockText(recipe.analysis) && new TextEncoder().encode(recipe.analysis).length <= MAX_ANALYSIS_BYTES), "the analysis is not plain printable text");
    demand(datasets.length && new Set(datasets.map((one) => (one.owner + "/" + one.name).toLowerCase())).size === datasets.length, "datasets must each stand once");
    demand([...schemas.keys()].every((name) => datasets.some((one) => one.schema === name)), "a schema is of no dataset");
    demand(!recipe.blocks || datasets.every((one) => one.schema), "files are in no block of people");
    const units = new Set([...schemas.values()].map((schema) => schema.unit));
    demand(units.size === 1 || recipe.relation, "the column of the person has two names");
    demand(holds(output.fields, privacy.epsilon, privacy.delta), "the fields together cost more than the policy says");
    const sections = [map(privacy), map({ ...output, fields: output.fields.map((one) => one.plain) })];
    demand(new TextDecoder().decode(bytes) === render(recipe, ...sections), "they hold more, or other things, than a recipe has");
    return Object.freeze({
      ...recipe,
      datasets: datasets.map((one) => ({ ...one, columns: one.schema ? schemas.get(one.schema).columns : new Map() })),
      unit: [...units][0],
      bytes: bytes.byteLength,
      composeHash: await sha256(bytes),
      privacyHash: await hashOf(sections[0]),
      outputHash: await hashOf(sections[1]),
      epsilonMicro: roundedUp(decimal(privacy.epsilon), 6),
      deltaPico: roundedUp(decimal(privacy.delta), 12),
    });
  };

  return Object.freeze({ read, schemaHash, typeText });
})();
