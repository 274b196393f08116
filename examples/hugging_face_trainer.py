"""Hugging Face Trainer: VAT in compute_loss, on embeddings, for tokens cannot be moved a little.

The model is a small untrained BERT and the texts are made up, so that nothing is downloaded: a text
is positive if it holds more of the words 1-9 than of the words 10-18.
"""

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import unshaken


class RegularizedTrainer(Trainer):
    """A Trainer whose loss has one more term."""

    vat = unshaken.VAT(radius=0.1)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        embeddings = model.get_input_embeddings()(ids)

        def logits(e: torch.Tensor) -> torch.Tensor:
            return model(inputs_embeds=e, attention_mask=mask).logits

        outputs = model(inputs_embeds=embeddings, attention_mask=mask, labels=inputs["labels"])
        loss = outputs.loss
        if model.training:
            loss = loss + self.vat(logits, embeddings, logits=outputs.logits)
        return (loss, outputs) if return_outputs else loss


def texts(count: int, seed: int, length: int = 12) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 19, (count, length), generator=generator)
    good = (ids < 10).sum(1) > length / 2
    mask = torch.ones(length, dtype=torch.int64)
    return [
        {"input_ids": row, "attention_mask": mask, "labels": label.long()}
        for row, label in zip(ids, good, strict=True)
    ]


def main(epochs: int = 6, seed: int = 0) -> dict[str, float]:
    torch.manual_seed(seed)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=20,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=16,
            num_labels=2,
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = RegularizedTrainer(
            model,
            TrainingArguments(
                folder,
                num_train_epochs=epochs,
                per_device_train_batch_size=32,
                learning_rate=2e-3,
                use_cpu=True,
                report_to=[],
                save_strategy="no",
                logging_steps=5,
                disable_tqdm=True,
                seed=seed,
            ),
            train_dataset=texts(1024, seed),
        )
        trainer.train()
        test = texts(256, seed + 1)
        found = trainer.predict(test)
    wrong = found.predictions.argmax(1) != found.label_ids
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "first loss": float(losses[0]),
        "last loss": float(losses[-1]),
        "test error %": 100 * float(wrong.mean()),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
