"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const gallery = JSON.parse(document.body.dataset.gallery);
  const form = byId("ask"), input = byId("files"), drop = byId("drop");
  let crops = [], asked = 0, hits = [];

  // Every text of the gallery goes through here: it is never markup.
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const pictureOf = (id, side) => `/crops/${encodeURIComponent(id)}?side=${side}`;
  const shortTime = (time) => time.slice(0, 19).replace("T", " ");
  const clock = (time) => time.slice(11, 19);
  const secondsOf = (time) => Date.parse(`${time.slice(0, 23)}Z`) / 1000;
  const timeOf = (seconds) => new Date(seconds * 1000).toISOString();
  const withConfidence = (name, confidence) =>
    name ? name + (confidence === null ? "" : ` ${confidence.toFixed(2)}`) : "not known";
  const say = (text, isError) => {
    byId("status").textContent = text;
    byId("status").classList.toggle("error", Boolean(isError));
  };

  // Light and dark: the reader's system decides until the button is pressed.
  const root = document.documentElement, theme = byId("theme");
  const isDark = () => root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const nameTheme = () => { theme.textContent = isDark() ? "Light colours" : "Dark colours"; };
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    theme.setAttribute("aria-pressed", String(isDark()));
    nameTheme();
  });
  nameTheme();

  const choose = (files) => {
    const pictures = [...files].filter((file) => file.type.startsWith("image/"));
    if (!pictures.length) { say("That is not an image.", true); return; }
    if (pictures.length > gallery.crops) { say(`At most ${gallery.crops} crops.`, true); return; }
    const size = pictures.reduce((sum, file) => sum + file.size, 0);
    if (size > gallery.bytes) {
      say(`The crops have ${(size / 1e6).toFixed(1)} MB, more than ${gallery.bytes / 1e6}.`, true);
      return;
    }
    crops = pictures;
    const shown = byId("chosen");
    shown.querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
    shown.replaceChildren(...crops.map((file) => {
      const image = make("img");
      image.src = URL.createObjectURL(file);
      image.alt = `chosen: ${file.name}`;
      return image;
    }));
    byId("drop-title").textContent = crops.length > 1 ? `${crops.length} crops of one track` : crops[0].name;
    byId("search").disabled = false;
    search().then(() => {
      if (matchMedia("(max-width: 760px)").matches) byId("answer").scrollIntoView();
    });
  };

  const queryOf = () => {
    const query = new URLSearchParams();
    for (const box of form.querySelectorAll(".boxes input:checked")) query.append(box.name, box.value);
    for (const id of ["after", "before"]) if (byId(id) && byId(id).value) query.set(id, byId(id).value);
    if (byId("image-camera").value) query.set("image_camera", byId("image-camera").value);
    if (byId("same-camera").checked) query.set("same_camera", "1");
    query.set("top", byId("top").value || "30");
    query.set("sizes", crops.map((file) => file.size).join(","));
    for (const file of crops) query.append("name", file.name.slice(0, 80));
    return query;
  };

  const ask = async (address, options) => {
    const answer = await fetch(address, options);
    const said = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
    if (!answer.ok) throw new Error(said.error || `the server answered ${answer.status}`);
    return said;
  };

  const search = async () => {
    if (!crops.length) return;
    const mine = ++asked;
    say("Searching ...");
    byId("answer").setAttribute("aria-busy", "true");
    try {
      const body = new Blob(crops, { type: "application/octet-stream" });
      const answer = await ask(`/api/search?${queryOf()}`, { method: "POST", body });
      if (mine === asked) show(answer);
    } catch (error) {
      if (mine === asked) {
        byId("result").hidden = true;
        say(error.message, true);
      }
    } finally {
      if (mine === asked) byId("answer").removeAttribute("aria-busy");
    }
  };

  const candidate = (hit, lines, className) => {
    const button = make("button", `candidate ${className}`);
    button.type = "button";
    const image = make("img");
    image.src = pictureOf(hit.id, 220);
    image.alt = lines.join(", ");
    image.loading = "lazy";
    button.append(image, ...lines.map((line, i) => (i ? make("span", "", line) : make("b", "", line))));
    button.addEventListener("click", () => openAround(hit.id));
    const item = make("li");
    item.append(button);
    return item;
  };

  const oneDay = () => new Set(hits.filter((hit) => hit.time).map((hit) => hit.time.slice(0, 10))).size < 2;
  const linesOf = (hit) => [
    `#${hit.rank} · ${hit.distance.toFixed(2)}`,
    hit.camera ? `camera ${hit.camera}` : "camera not known",
    ...(hit.time ? [oneDay() ? clock(hit.time) : shortTime(hit.time).slice(0, 16)] : []),
    ...(hit.color ? [withConfidence(hit.color, hit.color_confidence)] : []),
    ...(hit.type ? [withConfidence(hit.type, hit.type_confidence)] : []),
  ];

  const show = (answer) => {
    hits = answer.hits;
    const cut = answer.threshold !== null;
    const likely = hits.filter((hit) => hit.likely), others = hits.filter((hit) => !hit.likely);
    byId("said").textContent = answer.said;
    byId("likely-title").textContent = cut ? "Likely" : "Candidates";
    byId("cut").textContent = !hits.length ? "Nothing is left to compare with."
      : !cut ? "No threshold is known that would cut the list."
        : likely.length ? `${answer.cut[0].toUpperCase()}${answer.cut.slice(1)}.` : `Limit: ${answer.cut}. Here ${answer.none_likely}.`;
    byId("likely").replaceChildren(...likely.map((hit) => candidate(hit, linesOf(hit), cut ? "likely" : "")));
    byId("beyond").replaceChildren(...others.map((hit) => candidate(hit, linesOf(hit), "")));
    byId("beyond-part").hidden = !others.length;
    byId("left-out").textContent = answer.left_out.length ? `Left out: ${answer.left_out.join("; ")}.` : "";
    byId("result").hidden = false; // before the time line, which has a width then
    drawTimeline(cut);
    const count = cut ? `${likely.length} likely of ${hits.length} candidates` : `${hits.length} candidates`;
    say(`${count}, from ${answer.num_compared.toLocaleString("en")} of ${answer.num_gallery.toLocaleString("en")} sightings.`);
  };

  let showsAll = false;
  const drawTimeline = (cut) => {
    const known = hits.filter((hit) => hit.time), near = known.filter((hit) => hit.likely);
    const timed = showsAll || !near.length ? known : near;
    byId("timeline-part").hidden = !timed.length;
    if (!timed.length) return;
    const moments = timed.map((hit) => secondsOf(hit.time));
    const first = Math.min(...moments), span = Math.max(...moments) - first || 1;
    const shareOf = (hit) => (secondsOf(hit.time) - first) / span;
    const width = Math.max(120, byId("timeline").clientWidth - 140);
    const lanes = new Map();
    for (const hit of timed) {
      if (!lanes.has(hit.camera)) lanes.set(hit.camera, []);
      lanes.get(hit.camera).push(hit);
    }
    const names = [...lanes.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const rows = names.map((name) => {
      const lane = make("div", "lane"), dots = make("div", "dots");
      const label = make("span", "name", name ? `camera ${name}` : "not known");
      label.title = label.textContent;
      lane.append(label, dots);
      const ends = []; // of the rows of dots, so that none hides another
      for (const hit of lanes.get(name).sort((a, b) => shareOf(a) - shareOf(b))) {
        const x = shareOf(hit) * width;
        let row = ends.findIndex((end) => end <= x);
        if (row < 0) row = ends.push(0) - 1;
        ends[row] = x + 24;
        const dot = make("button", `dot${cut && hit.likely ? " likely" : ""}`, String(hit.rank));
        dot.type = "button";
        dot.style.left = `${100 * shareOf(hit)}%`;
        dot.style.top = `${3 + 25 * row}px`;
        dot.title = linesOf(hit).join("\n");
        dot.setAttribute("aria-label", linesOf(hit).join(", "));
        dot.addEventListener("click", () => openAround(hit.id));
        dots.append(dot);
      }
      dots.style.height = `${4 + 25 * ends.length}px`;
      return lane;
    });
    const axis = make("div", "lane axis"), ticks = make("div", "dots");
    const isDay = timeOf(first).slice(0, 10) === timeOf(first + span).slice(0, 10);
    [0, 0.25, 0.5, 0.75, 1].forEach((share) => {
      const time = timeOf(first + share * span);
      const tick = make("span", share > 0 && share < 1 ? "tick inner" : "tick", isDay ? clock(time) : shortTime(time).slice(5, 16));
      tick.style.left = `${100 * share}%`;
      ticks.append(tick);
    });
    axis.append(make("span", "name", isDay ? timeOf(first).slice(0, 10) : ""), ticks);
    const legend = make("p", "note legend");
    if (cut) legend.append(make("span", "dot likely legend-dot"), "likely ");
    if (cut && near.length && near.length < known.length) {
      const label = make("label"), box = make("input");
      box.type = "checkbox";
      box.checked = showsAll;
      box.addEventListener("change", () => { showsAll = box.checked; drawTimeline(cut); byId("timeline").querySelector("input").focus(); });
      label.append(box, make("span", "dot legend-dot"), "beyond the threshold, too ");
      legend.append(label);
    }
    legend.append("The numbers are ranks; press one for the frames around it.");
    byId("timeline").replaceChildren(...rows, axis, legend);
  };

  const dialog = byId("around");
  const frames = (list, part, holder, id) => {
    byId(part).hidden = list.length < 2;
    byId(holder).replaceChildren(...list.map((one) => candidate(
      one, [one.time ? clock(one.time) : one.name, withConfidence(one.color, one.color_confidence)], one.id === id ? "here" : "")));
  };
  const openAround = async (id) => {
    let found;
    try {
      found = await ask(`/api/sightings/${encodeURIComponent(id)}/around`);
    } catch (error) {
      say(error.message, true);
      return;
    }
    const one = found.sighting, hit = hits.find((other) => other.id === id);
    const where = one.camera ? `Camera ${one.camera}` : "Camera not known";
    byId("around-title").textContent = one.time ? `${where}, ${shortTime(one.time)}` : where;
    byId("around-picture").src = pictureOf(id, 640);
    byId("around-picture").alt = `crop ${one.name}`;
    const facts = [
      ...(hit ? [["Candidate", `#${hit.rank}, distance ${hit.distance.toFixed(3)}`]] : []),
      ["Colour", withConfidence(one.color, one.color_confidence)],
      ["Type", withConfidence(one.type, one.type_confidence)],
      ...(one.vehicle ? [["Vehicle", one.vehicle]] : []),
      ...(one.track ? [["Track", one.track]] : []),
      ["File", one.name],
    ];
    byId("around-facts").replaceChildren(...facts.map(([name, value]) => {
      const line = make("div");
      line.append(make("dt", "", name), make("dd", "", value));
      return line;
    }));
    frames(found.track, "track-part", "track", id);
    frames(found.camera, "camera-part", "camera-frames", id);
    if (!dialog.open) dialog.showModal();
    for (const strip of dialog.querySelectorAll(".strip")) {
      const here = strip.querySelector(".here");
      if (here) strip.scrollLeft = here.offsetLeft - strip.clientWidth / 2;
    }
  };
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  input.addEventListener("change", () => { if (input.files.length) choose(input.files); });
  for (const name of ["dragenter", "dragover"]) {
    window.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer && event.dataTransfer.files.length) choose(event.dataTransfer.files);
  });
  window.addEventListener("paste", (event) => {
    if (event.clipboardData && event.clipboardData.files.length) choose(event.clipboardData.files);
  });
  const nameChoices = () => {
    for (const part of form.querySelectorAll(".choices")) {
      const chosen = [...part.querySelectorAll("input:checked")].map((box) => box.value);
      part.querySelector(".what").textContent = chosen.length ? chosen.join(", ") : "all";
    }
  };
  form.addEventListener("change", (event) => {
    if (event.target === input) return;
    nameChoices();
    search();
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  form.addEventListener("reset", () => {
    crops = [];
    asked += 1;
    byId("chosen").replaceChildren();
    byId("drop-title").textContent = "Drop a crop of a vehicle here";
    byId("search").disabled = true;
    byId("result").hidden = true;
    say("");
    setTimeout(nameChoices);
  });
})();
