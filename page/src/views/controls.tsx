// Small controls that several views use.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Chain, Take } from "../model/chain.ts";
import { clock } from "../model/time.ts";
import { rateOf, startOf } from "../model/tree.ts";
import { takeName } from "../state/store.ts";
import { words } from "../words.ts";
import { Icon, type IconName } from "./icons.tsx";

type ButtonProps = {
  label: string;
  icon?: IconName;
  /** Only the icon is seen; the label is spoken and shown as a hint. */
  bare?: boolean;
  kind?: "main" | "quiet" | "danger";
  pressed?: boolean;
  disabled?: boolean;
  shortcut?: string;
  hint?: string;
  onClick: () => void;
  children?: ComponentChildren;
};

export function Button(props: ButtonProps) {
  const { label, icon, bare, kind, pressed, disabled, shortcut, hint, onClick } = props;
  const title = hint ?? (bare ? label : undefined);
  return (
    <button
      type="button"
      class={`button ${kind ?? ""} ${bare ? "bare" : ""}`}
      aria-label={bare ? label : undefined}
      aria-pressed={pressed}
      aria-keyshortcuts={shortcut}
      title={shortcut && title ? `${title} (${shortcut})` : title}
      disabled={disabled}
      onClick={onClick}
    >
      {icon && <Icon name={icon} />}
      {!bare && <span>{label}</span>}
      {props.children}
    </button>
  );
}

export function Field(props: {
  label: string;
  hint?: string;
  error?: string | null;
  children: ComponentChildren;
}) {
  return (
    <label class="field">
      <span class="field-label">{props.label}</span>
      {props.children}
      {props.error ? (
        <span class="field-error" role="alert">
          {props.error}
        </span>
      ) : null}
    </label>
  );
}

/** A dialog in the top layer: Escape and the button close it, focus goes back to where it was. */
export function Dialog(props: {
  title: string;
  onClose?: () => void;
  wide?: boolean;
  children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={props.wide ? "wide" : ""}
      aria-labelledby="dialog-title"
      onCancel={(event) => {
        event.preventDefault();
        props.onClose?.();
      }}
    >
      <header class="dialog-head">
        <h2 id="dialog-title">{props.title}</h2>
        {props.onClose && (
          <Button label={words.common.close} icon="close" bare kind="quiet" onClick={props.onClose} />
        )}
      </header>
      {props.children}
    </dialog>
  );
}

export function Meter({ value, label }: { value: number; label: string }) {
  return (
    <progress class="meter" max={1} value={value} aria-label={label}>
      {Math.round(100 * value)} %
    </progress>
  );
}

/** One of some takes, by name and by where it begins. */
export function TakeChoice(props: {
  open: Chain;
  label: string;
  takes: Take[];
  value: string;
  onChange: (id: string) => void;
}) {
  const { open } = props;
  return (
    <Field label={props.label}>
      <select value={props.value} onChange={(event) => props.onChange(event.currentTarget.value)}>
        {props.takes.map((take) => (
          <option key={take.id} value={take.id}>
            {takeName(open, take)} · {clock(startOf(open, take.id) / rateOf(open))}
          </option>
        ))}
      </select>
    </Field>
  );
}
