// before the first paint, so that a dark page never flashes white
(function () {
    var chosen = null;
    try {
        chosen = localStorage.getItem("instashare.theme");
    } catch (_) {}
    var dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
