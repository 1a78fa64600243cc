(() => {
  // A query's name shows its rank list, for every run of the report, and is an address: #q=NAME.
  const holder = document.getElementById("lists");
  const panel = document.getElementById("explorer");
  const large = JSON.parse((document.getElementById("large") || {}).textContent || "{}");
  if (!holder || !panel) return;
  const data = JSON.parse(holder.textContent);
  const verdicts = [["right", "✓"], ["wrong", "✗"], ["ignored", "–"]];
  const words = { right: "right", wrong: "wrong", ignored: "ignored: same vehicle, same camera", query: "query" };
  const rowOf = new Map(Object.entries(data.lists).map(([row, lists]) => [lists[0].name, row]));
  const addressOf = (name) => "#q=" + encodeURIComponent(name);

  const make = (tag, classes, text) => {
    const element = document.createElement(tag);
    if (classes) element.className = classes;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const makeHit = (verdict, sign, thumb, name, pid, alt, lines) => {
    const item = make("li", "hit " + verdict);
    item.dataset.name = name;
    item.dataset.pid = pid;
    const frame = make("button", "frame");
    frame.type = "button";
    const picture = thumb ? make("span", "thumb " + thumb) : make("span", "thumb named", name);
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", alt);
    const mark = make("span", "sign", sign);
    mark.setAttribute("aria-hidden", "true");
    frame.append(picture, mark);
    frame.tabIndex = verdict === "query" ? 0 : -1;
    item.append(frame, ...lines.map((line) => make("span", "line", line)));
    return item;
  };
  const makeList = (list, run, queryThumb, byTrack) => {
    const block = make("div", "rank");
    const heading = make("h4", "", (data.runs.length > 1 ? run + ": " : "") + list.name + " ");
    const score = list.ap === null ? "no average precision" : "AP " + (100 * list.ap).toFixed(1) + " %";
    const hidden = list.hidden ? "; " + list.hidden + " more ignored images not shown" : "";
    const about = byTrack ? "tracks by their nearest image; the average precision is that of images" : list.about + hidden;
    heading.append(make("span", "", score + ", " + about));
    const row = make("ol");
    row.setAttribute("aria-label", "Rank list of " + list.name + "; arrow keys move along it");
    const camera = (camid) => (camid ? ["camera " + camid] : []);
    row.append(makeHit("query", "?", queryThumb, list.name, list.pid, ["query: vehicle " + list.pid, ...camera(list.camid)].join(", "),
      ["query", "vehicle " + list.pid, ...camera(list.camid)]));
    const hits = byTrack ? list.tracks : list.hits;
    hits.forEach(([key, distance, code, rank, count], index) => {
      if (!byTrack && list.gap && index === hits.length - 1) row.append(make("li", "hit gap", "…"));
      const [name, pid, camid, thumb] = data.gallery[key];
      const [verdict, sign] = verdicts[code];
      const images = byTrack ? [count + (count === 1 ? " image" : " images")] : [];
      row.append(makeHit(verdict, sign, thumb, name, pid,
        [rank ? "rank " + rank : "no rank", words[verdict] + ": vehicle " + pid, ...camera(camid), ...images, "distance " + distance].join(", "),
        [(rank ? "#" + rank : "–") + " · d " + distance.toFixed(Math.abs(distance) < 10 ? 2 : 1), "vehicle " + pid, ...camera(camid), ...images]));
    });
    block.append(heading, row);
    return block;
  };

  let chosen = null, byTrack = false;
  const close = () => {
    panel.hidden = true;
    history.replaceState(null, "", location.pathname + location.search);
    if (chosen) (chosen.querySelector(".row-button") || chosen).focus();
  };
  const open = (row) => {
    const lists = data.lists[row];
    if (!lists) return false;
    if (chosen) chosen.classList.remove("chosen");
    const link = document.querySelector('.row-button[data-query="' + row + '"]');
    chosen = link ? link.closest("tr") : null;
    if (chosen) chosen.classList.add("chosen");
    const bar = make("div", "bar");
    const done = make("button", "button", "Close");
    done.type = "button";
    done.addEventListener("click", close);
    bar.append(done);
    const hasTracks = lists.some((list) => list.tracks);
    if (hasTracks) {
      const how = make("button", "button", byTrack ? "Show images" : "Show tracks");
      how.type = "button";
      how.addEventListener("click", () => { byTrack = !byTrack; open(row); panel.querySelectorAll(".bar button")[1].focus(); });
      bar.append(how);
    }
    const shown = lists.map((list, index) => makeList(list, data.runs[index], lists[0].thumb, byTrack && hasTracks && list.tracks));
    panel.replaceChildren(bar, ...shown);
    panel.hidden = false;
    return true;
  };
  const show = (name) => {
    const row = rowOf.get(name);
    if (row === undefined || !open(row)) return;
    if (chosen) chosen.scrollIntoView({ block: "nearest" });
    panel.scrollIntoView({ block: "start" });
  };
  const follow = () => {
    if (!location.hash.startsWith("#q=")) return;
    try { show(decodeURIComponent(location.hash.slice(3))); } catch { /* no name */ }
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".row-button");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.replaceState(null, "", link.getAttribute("href"));
    open(link.dataset.query);
    panel.scrollIntoView({ block: "nearest" });
  });
  addEventListener("hashchange", follow);
  follow();

  // A crop opens beside its place in the list, at the size that this file has of it.
  const card = make("div", "crop-card no-print");
  card.setAttribute("role", "dialog");
  card.hidden = true;
  document.body.append(card);
  let opener = null;
  const hideCard = (giveFocus) => {
    if (card.hidden) return;
    card.hidden = true;
    if (opener) opener.removeAttribute("aria-expanded");
    if (giveFocus && opener) opener.focus();
    opener = null;
  };
  const links = (name, pid, isQuery) => {
    if (isQuery && rowOf.get(name) === undefined) return [];
    if (rowOf.has(name)) return [[name, "Its own rank list"]];
    const others = Object.values(data.lists).filter((lists) => String(lists[0].pid) === pid).slice(0, 3);
    return others.map((lists) => [lists[0].name, "Rank list of " + lists[0].name]);
  };
  const showCard = (frame) => {
    const item = frame.closest(".hit");
    const thumb = frame.querySelector(".thumb");
    const key = [...thumb.classList].find((one) => /^t\d+$/.test(one));
    const label = thumb.getAttribute("aria-label");
    hideCard(false);
    opener = frame;
    frame.setAttribute("aria-expanded", "true");
    card.setAttribute("aria-label", "Crop: " + label);
    let picture = null;
    if (key && item.dataset.name && large[key]) {
      picture = new Image();
      picture.src = "data:image/jpeg;base64," + large[key];
      picture.alt = label;
    } else if (key) {
      picture = make("div", "enlarged " + key);
    }
    const about = make("p", "", label);
    const done = make("button", "button", "Close");
    done.type = "button";
    done.addEventListener("click", () => hideCard(true));
    const parts = picture ? [picture, about] : [about];
    if (item.dataset.name) {
      parts.push(make("p", "mono", item.dataset.name));
      const isQuery = item.classList.contains("query");
      links(item.dataset.name, item.dataset.pid, isQuery).forEach(([name, text]) => {
        const link = make("a", "", text);
        link.href = addressOf(name);
        link.addEventListener("click", () => { hideCard(false); if (location.hash === link.hash) follow(); });
        const line = make("p");
        line.append(link);
        parts.push(line);
      });
    }
    card.replaceChildren(...parts, done);
    card.hidden = false;
    const place = () => {
      const hit = frame.getBoundingClientRect(), own = card.getBoundingClientRect();
      const room = document.documentElement.clientWidth - own.width - 8;
      const right = hit.right + 8 <= room ? hit.right + 8 : hit.left - own.width - 8;
      card.style.left = scrollX + Math.max(8, Math.min(right, room)) + "px";
      card.style.top = scrollY + Math.max(8, Math.min(hit.top, innerHeight - own.height - 8)) + "px";
    };
    place();
    if (picture instanceof HTMLImageElement) picture.addEventListener("load", place);
    done.focus({ preventScroll: true });
  };
  document.addEventListener("click", (event) => {
    const frame = event.target.closest(".hit .frame");
    if (frame) showCard(frame);
    else if (!event.target.closest(".crop-card")) hideCard(false);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { if (card.hidden) { if (!panel.hidden && panel.contains(document.activeElement)) close(); } else hideCard(true); }
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const frame = event.target.closest && event.target.closest(".hit .frame");
    if (!step || !frame) return;
    const frames = [...frame.closest("ol").querySelectorAll(".frame")];
    const next = frames[frames.indexOf(frame) + step];
    if (!next) return;
    event.preventDefault();
    frames.forEach((one) => { one.tabIndex = one === next ? 0 : -1; });
    next.focus();
  });
})();
