// The OpenAPI document as a page. The key is the live page's: kept in this tab, and sent only in a header.
const KEY = "k2-key";
const door = document.getElementById("door");
const headers = () => {
  const key = sessionStorage.getItem(KEY);
  return key ? {Authorization: "Bearer " + key} : {};
};
async function open() {
  const answer = await fetch("openapi.json", {headers: headers()});
  door.hidden = answer.status !== 401;
  if (answer.status === 401) {
    document.getElementById("refusal").textContent = sessionStorage.getItem(KEY) ? "This key does not open the service." : "";
    sessionStorage.removeItem(KEY);
    document.getElementById("key").focus();
    return;
  }
  SwaggerUIBundle({
    spec: await answer.json(),
    dom_id: "#docs",
    deepLinking: true,
    defaultModelsExpandDepth: -1,
    supportedSubmitMethods: ["get"],
    validatorUrl: null,
    requestInterceptor: request => ({...request, headers: {...request.headers, ...headers()}}),
  });
}
door.addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem(KEY, document.getElementById("key").value.trim());
  document.getElementById("key").value = "";
  open();
});
document.documentElement.classList.toggle("dark-mode", matchMedia("(prefers-color-scheme: dark)").matches);
open();
