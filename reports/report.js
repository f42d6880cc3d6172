// Shows one gallery at a time, and turns the order of all around. Without it, all are shown, the worst first.
const galleries = [...document.querySelectorAll(".gallery")];
const buttons = [...document.querySelectorAll("[data-show]")];
const turn = document.getElementById("turn");

function show(task) {
    galleries.forEach((gallery) => { gallery.hidden = gallery.dataset.task !== task; });
    buttons.forEach((button) => { button.classList.toggle("chosen", button.dataset.show === task); });
}

if (buttons.length) {
    buttons.forEach((button) => { button.onclick = () => show(button.dataset.show); });
    turn.onclick = () => {
        document.querySelectorAll(".cards").forEach((cards) => { cards.classList.toggle("turned"); });
        turn.textContent = turn.textContent === "best first" ? "worst first" : "best first";
    };
    show(buttons[0].dataset.show);
}
