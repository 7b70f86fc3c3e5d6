import { render } from "preact";
import { installKeys } from "./keys.ts";
import { begin } from "./state/store.ts";
import { App } from "./views/App.tsx";

render(<App />, document.getElementById("app") as HTMLElement);
installKeys();
void begin();
