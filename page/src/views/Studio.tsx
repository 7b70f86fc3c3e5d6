// One chain: its head, its timeline, the chosen take.
import type { Chain } from "../model/chain.ts";
import { rateOf, samplesOf } from "../model/tree.ts";
import { redo, rename, undo } from "../state/actions.ts";
import { chain, chainId, dialog } from "../state/store.ts";
import { words } from "../words.ts";
import { Button } from "./controls.tsx";
import { Inspector } from "./Inspector.tsx";
import { Library, Start } from "./Library.tsx";
import { Timeline } from "./Timeline.tsx";
import { Transport } from "./Transport.tsx";

export function Studio() {
  const open = chain.value;
  return (
    <div class={`studio ${chainId.value === null ? "without-chain" : ""}`}>
      <Library />
      {chainId.value === null ? (
        <main id="main">
          <Start />
        </main>
      ) : open === null ? (
        <main id="main" aria-busy="true">
          <h1 class="visually-hidden">{words.product}</h1>
          <p class="loading">{words.chain.loading}</p>
        </main>
      ) : (
        <>
          <main id="main" class="desk-main">
            <ChainHead open={open} />
            <Timeline open={open} />
            <Transport open={open} />
          </main>
          <Inspector open={open} />
        </>
      )}
    </div>
  );
}

function ChainHead({ open }: { open: Chain }) {
  const committed = open.nodes.filter((node) => open.spine.includes(node.id));
  const length = committed.reduce((sum, node) => sum + samplesOf(open, node), 0) / rateOf(open);
  return (
    <header class="chain-head">
      <h1 class="visually-hidden">{open.title || words.library.untitled}</h1>
      <input
        class="title-input large"
        aria-label={words.chain.title}
        key={`${open.id}:${open.title}`}
        defaultValue={open.title}
        placeholder={words.library.untitled}
        maxLength={200}
        onChange={(event) => rename(open.id, event.currentTarget.value.trim())}
      />
      <span class="faint chain-facts">{words.chain.facts(length, open.nodes.length)}</span>
      <span class="row">
        <Button
          label={open.undo ? words.chain.undoWhat(open.undo.action) : words.chain.undo}
          icon="undo"
          bare
          kind="quiet"
          shortcut="Control+Z"
          disabled={open.undo === null}
          onClick={undo}
        />
        <Button
          label={open.redo ? words.chain.redoWhat(open.redo.action) : words.chain.redo}
          icon="redo"
          bare
          kind="quiet"
          shortcut="Control+Shift+Z"
          disabled={open.redo === null}
          onClick={redo}
        />
        <Button
          label={words.chain.export}
          icon="download"
          shortcut="E"
          onClick={() => {
            dialog.value = "export";
          }}
        />
      </span>
    </header>
  );
}
