"use strict";
const page = (() => {
  // A reader's choices hold on every page. Where a browser keeps nothing for files, the addresses
  // of the pages that this one leads to carry them.
  const given = new URLSearchParams(location.search);
  const recall = (name) => {
    if (given.has(name)) return given.get(name);
    try { return localStorage.getItem("mtn-" + name); } catch { return null; }
  };
  const carry = (name, value) => {
    document.querySelectorAll("a[href]").forEach((link) => {
      const [address, place] = link.getAttribute("href").split("#");
      if (!/\.html(\?|$)/.test(address) || /^[a-z]+:/i.test(address)) return;
      const [path, query] = address.split("?");
      const values = new URLSearchParams(query);
      values.set(name, value);
      link.setAttribute("href", path + "?" + values + (place === undefined ? "" : "#" + place));
    });
  };
  const remember = (name, value) => {
    given.set(name, value);
    try { localStorage.setItem("mtn-" + name, value); } catch { /* nothing is kept */ }
    carry(name, value);
  };
  document.addEventListener("DOMContentLoaded", () => given.forEach((value, name) => carry(name, value)));
  const theme = recall("theme"); // before anything is drawn
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  return { recall, remember };
})();
