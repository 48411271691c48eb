import { Dialog } from "../elements/dialog";
import { useText } from "../text/text";
import styles from "./keyboard_help.module.scss";

export function KeyboardHelp({ onClose }: { onClose(): void }) {
    const text = useText();
    return (
        <Dialog title={text.library.keyboard} size="small" onClose={onClose}>
            <dl className={styles.keys}>
                {text.library.help.map(([key, meaning]) => (
                    <div key={key}>
                        <dt>
                            {key.split(" ").map((one) => (
                                <kbd key={one}>{one}</kbd>
                            ))}
                        </dt>
                        <dd>{meaning}</dd>
                    </div>
                ))}
            </dl>
        </Dialog>
    );
}
