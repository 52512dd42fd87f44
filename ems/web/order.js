// Give a command: a dialog that names device and effect, and never says more than is known.
import { Refused, call, randomId } from "./api.js";
import { button, make } from "./dom.js";
import { badge } from "./status.js";
import { t } from "./texts.js";

const dialog = document.getElementById("order");
let timer = 0;

export const ask = ({ line, status, command, sent }) => {
  const reason = make("input", "");
  reason.maxLength = 200;
  reason.setAttribute("aria-label", t("reason"));
  const answer = make("div", "answer");
  answer.hidden = true;
  answer.setAttribute("role", "status");
  const target = line.name + " (" + line.device_uid + ")";
  const go = button(command === 2 ? "danger" : "main", t("c" + command) + ": " + line.device_uid, () => first());
  const actions = make("div", "actions", button("", t("dismiss"), close), go);

  const tell = (...words) => {
    answer.hidden = false;
    answer.replaceChildren(...words);
  };
  const post = async (more) => {
    go.disabled = true;
    tell(t("sending"));
    const body = { device_uid: line.device_uid, command, reason: reason.value || null, ...more };
    try {
      const id = await call("POST", "bms-control", { body, headers: { "Idempotency-Key": randomId() } });
      close();
      sent(id);
    } catch (error) {
      failed(error);
    }
  };
  const first = () => post({});
  const failed = (error) => {
    if (error instanceof Refused && error.status === 428) {
      armed(error.data);
      return;
    }
    tell(error instanceof Refused ? t("refused") + ": " + error.message + " – " + describe(error.data) : t("noAnswer"));
  };
  const armed = (data) => {
    const until = performance.now() + data.confirm_within_ms;
    const left = make("strong", "");
    reason.disabled = true;
    tell(t("armed"), " ", left);
    const confirm = button("danger", t("confirm") + ": " + t("c" + command) + " " + line.device_uid, () => {
      clearInterval(timer);
      confirm.disabled = true;
      post({ arm_id: data.arm_id });
    });
    go.replaceWith(confirm);
    confirm.focus();
    const count = () => {
      const ms = until - performance.now();
      left.textContent = (Math.max(0, ms) / 1000).toFixed(1) + " s";
      if (ms > 0) return;
      clearInterval(timer);
      confirm.disabled = true;
      tell(t("armedOver"));
    };
    timer = setInterval(count, 100);
    count();
  };

  dialog.replaceChildren(
    make("h2", "", t("c" + command)),
    make("p", "target", target),
    make("p", "", badge(status)),
    make("p", "", t("e" + command)),
    ...(status.value === null ? [make("p", "why", t("unsure"))] : []),
    make("label", "soft", t("reason"), reason),
    answer, actions);
  dialog.showModal();
  reason.focus();
};

const describe = (data) => (typeof data === "string" ? data : JSON.stringify(data));

const close = () => {
  clearInterval(timer);
  dialog.close();
};

dialog.addEventListener("close", () => clearInterval(timer));
