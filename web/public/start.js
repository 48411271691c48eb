// before the first paint, so that a dark page never flashes white; and the settings of the stack are on their way while
// the page's scripts still are
(function () {
    var chosen = null;
    try {
        chosen = localStorage.getItem("instashare.theme");
    } catch (_) {}
    var dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    window.instashareConfig = fetch("/config.json", { cache: "no-cache" });
    window.instashareConfig.catch(function () {}); // who reads it hears of it
})();
