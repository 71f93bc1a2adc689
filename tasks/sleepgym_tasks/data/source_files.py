"""The original files that loaders read: where they are and what their SHA-256 is."""

from __future__ import annotations

from dataclasses import dataclass

_GITHUB = "https://raw.githubusercontent.com"
_CLINC = f"{_GITHUB}/clinc/oos-eval/828f8093932c8fe6ca7936c3d2e52903b1c523de/data"
_BANKING = (
    f"{_GITHUB}/PolyAI-LDN/task-specific-datasets"
    "/57ec275d8078af65b7731c2a98be812d844a6d6b/banking_data"
)
_OLORA = f"{_GITHUB}/cmnfriend/O-LoRA/07117e1fc4a5f5ad9308a815a42cee8f46502dc8"
_SEAL = (
    f"{_GITHUB}/Continual-Intelligence/SEAL/4cb1e7d4350c62403daee8c6723e6184886cb304"
    "/knowledge-incorporation/data"
)
_ARC = (
    f"{_GITHUB}/Continual-Intelligence/SEAL/4cb1e7d4350c62403daee8c6723e6184886cb304/few-shot/data"
)
_XQUAD = f"{_GITHUB}/google-deepmind/xquad/7d30520c717524000f0d9d2f9c10a069acd9d285"
_SQUAD = "https://rajpurkar.github.io/SQuAD-explorer/dataset"
_KNOWLEDGE_SPREAD = (
    f"{_GITHUB}/Jometeorie/KnowledgeSpread/51d7402617c2e52bde0dc11b76e400c3725a181a/data"
)
_MOBY_DICK = (
    f"{_GITHUB}/GITenberg/Moby-Dick--Or-The-Whale_2701/bdf1948e6cd00963730971e5624e764a35f238c3"
)
_WORDS = (
    f"{_GITHUB}/mrmaxguns/wonderwordsmodule/5dfa455554e7c225a59c865d706c4293ca2c132e"
    "/wonderwords/assets"
)
_BABI = f"{_GITHUB}/VinGarcia/bAbI/c4f149baa4ecc4ba9096d2706e5be845a98680e6"
_DBPEDIA = "https://huggingface.co/datasets/DeveloperOats/DBPedia_Classes"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """An original file.

    Attributes:
        folder: The data set's folder under ``--data``.
        name: Path of the file in that folder.
        url: Where the original is; a page where no exact version could be pinned.
        sha256: Of the original; None where no exact version could be pinned, and then the file is
            never downloaded: the user brings it.
    """

    folder: str
    name: str
    url: str
    sha256: str | None


FILES: dict[tuple[str, str], SourceFile] = {
    (source.folder, source.name): source
    for source in (
        SourceFile(
            "clinc150",
            "data_full.json",
            f"{_CLINC}/data_full.json",
            "36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0",
        ),
        SourceFile(
            "clinc150",
            "domains.json",
            f"{_CLINC}/domains.json",
            "b947b579d3b8e74b06f93b01083d8efaff2888b43a3e362533bd88a6e1211b3a",
        ),
        SourceFile(
            "banking77",
            "train.csv",
            f"{_BANKING}/train.csv",
            "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
        ),
        SourceFile(
            "banking77",
            "test.csv",
            f"{_BANKING}/test.csv",
            "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
        ),
        SourceFile(
            "banking77",
            "categories.json",
            f"{_BANKING}/categories.json",
            "53261da888122daf2d120d925458631d9619e15d82e56052e7a42e535ce32b63",
        ),
        SourceFile("dbpedia", "DBPEDIA_train.csv", _DBPEDIA, None),
        SourceFile("dbpedia", "DBPEDIA_test.csv", _DBPEDIA, None),
        SourceFile(
            "olora_cl_benchmark",
            "CL_Benchmark/TC/dbpedia/labels.json",
            f"{_OLORA}/CL_Benchmark/TC/dbpedia/labels.json",
            "240b2344560e4d0736888d74332f78932525343a053149dfdc131ec1fc604a61",
        ),
        SourceFile(
            "olora_cl_benchmark",
            "CL_Benchmark/TC/dbpedia/test.json",
            f"{_OLORA}/CL_Benchmark/TC/dbpedia/test.json",
            "971c1a298668385042ce02b67444e1d45773ce0b8b22abbbc39a2592bbe7c255",
        ),
        SourceFile(
            "olora_cl_benchmark",
            "CL_Benchmark/BoolQA/BoolQA/labels.json",
            f"{_OLORA}/CL_Benchmark/BoolQA/BoolQA/labels.json",
            "698feb4a00d84d31f33686a729253ee3d70e18709216f67bc4db96d484a2434c",
        ),
        SourceFile(
            "olora_cl_benchmark",
            "CL_Benchmark/BoolQA/BoolQA/test.json",
            f"{_OLORA}/CL_Benchmark/BoolQA/BoolQA/test.json",
            "91e3495dd0be68a53251bf2ad8f527fa0249a6f23cb89d880ab4fb787d3e9bc9",
        ),
        SourceFile(
            "olora_cl_benchmark",
            "CL_Benchmark/BoolQA/BoolQA/train.json",
            f"{_OLORA}/CL_Benchmark/BoolQA/BoolQA/train.json",
            "dd6d9d5fa802a8c395a0a5f3c11a69926ca224204d703a1ab26273358ce8e01c",
        ),
        SourceFile(
            "olora_cl_benchmark",
            "CL_Benchmark/COPA/COPA/labels.json",
            f"{_OLORA}/CL_Benchmark/COPA/COPA/labels.json",
            "f2314439597c11e286fd3c2fdf8eb70d3739e136f83e9533249ce3ecc43ece3e",
        ),
        SourceFile(
            "olora_cl_benchmark",
            "CL_Benchmark/COPA/COPA/test.json",
            f"{_OLORA}/CL_Benchmark/COPA/COPA/test.json",
            "6f426193918e1b8ffb6371a98e118d37f85562390bf12bc1a22b3abec431e89d",
        ),
        SourceFile(
            "olora_cl_benchmark",
            "CL_Benchmark/COPA/COPA/train.json",
            f"{_OLORA}/CL_Benchmark/COPA/COPA/train.json",
            "2de2a58ccb8e916aa74eeb7d19d5d46e4a72e64d1374b6df76298034a484ca05",
        ),
        SourceFile(
            "olora_cl_benchmark",
            "CL_Benchmark/NLI/MNLI/labels.json",
            f"{_OLORA}/CL_Benchmark/NLI/MNLI/labels.json",
            "fe22829f991f10a7be226c2fc44446cd80efb151b8874d448440c521ad34165d",
        ),
        SourceFile(
            "olora_cl_benchmark",
            "CL_Benchmark/NLI/MNLI/test.json",
            f"{_OLORA}/CL_Benchmark/NLI/MNLI/test.json",
            "cd668846ac2568d19dc5398b0d263bf202546f71fc64466e422c6b3a87d7a1fa",
        ),
        SourceFile(
            "olora_cl_benchmark",
            "CL_Benchmark/NLI/MNLI/train.json",
            f"{_OLORA}/CL_Benchmark/NLI/MNLI/train.json",
            "f5a7382106d5fa60d6b6f02ffdd7fe78863fdd0536f0e5e40c1676c67385f2d8",
        ),
        SourceFile(
            "squad_seal",
            "base_val.json",
            f"{_SEAL}/synthetic_data/eval/base_val.json",
            "fe60ef47753bcef4bab672bf031fb2b3af383e54d454d6f9f9168849fe0055b4",
        ),
        SourceFile(
            "squad_seal",
            "iter0_train.json",
            f"{_SEAL}/synthetic_data/train/iter0_train.json",
            "8d292d69bcef111e15ca8d39c5c8cfe01dd28ee4240f17c57548e1793e889690",
        ),
        SourceFile(
            "squad_seal",
            "squad_val.json",
            f"{_SEAL}/squad_val.json",
            "f9a4538b00006b6bed12c00d1274807b11cc33ba5b1068d797e1457ed4f74992",
        ),
        SourceFile(
            "squad_xquad_en",
            "xquad.en.json",
            f"{_XQUAD}/xquad.en.json",
            "e4c57d1c9143aaa1c5d265ba5987a65f4e69528d2a98f29d6e75019b10344f29",
        ),
        SourceFile(
            "counterfact",
            "counterfact-edit.json",
            f"{_KNOWLEDGE_SPREAD}/counterfact/counterfact-edit.json",
            "bfe31a7081932739406e282bb625d74222549c3386c15b1df3dfbc3978c69eec",
        ),
        SourceFile(
            "counterfact",
            "counterfact-val.json",
            f"{_KNOWLEDGE_SPREAD}/counterfact/counterfact-val.json",
            "42b44645471020a9419d183deb9e113e82941380046861770ea0083dabd13982",
        ),
        SourceFile(
            "arc_agi_1",
            "arc-agi_training_challenges.json",
            f"{_ARC}/arc-agi_training_challenges.json",
            "5b02a4753e9088134744d952b048a03f6f23abf4eb6c04e3f27822cf3d439634",
        ),
        SourceFile(
            "arc_agi_1",
            "arc-agi_training_solutions.json",
            f"{_ARC}/arc-agi_training_solutions.json",
            "47212ad04ef4211221ac6141cba8c8d425e20e90da90ace575ef286c5f992534",
        ),
        SourceFile(
            "arc_agi_1",
            "arc-agi_evaluation_challenges.json",
            f"{_ARC}/arc-agi_evaluation_challenges.json",
            "2b05f8f7d33b73fdbefd69914c399e9409d1949c7f16aabc78e677443a64b208",
        ),
        SourceFile(
            "arc_agi_1",
            "arc-agi_evaluation_solutions.json",
            f"{_ARC}/arc-agi_evaluation_solutions.json",
            "629622b0eecf42c6cb4da628955ef76ec43214f0d00081f8cf63082ade496c52",
        ),
        SourceFile(
            "gutenberg_moby_dick",
            "2701-0.txt",
            f"{_MOBY_DICK}/2701-0.txt",
            "baf9b04fcf6e0008f30eaaa6697277751448c1070b20175e0082f28cbb161fd3",
        ),
        SourceFile(
            "ruler_niah_words",
            "adjectivelist.txt",
            f"{_WORDS}/adjectivelist.txt",
            "66814d46b7e292c83e839d12fe2fa083c8f66779b14b294e1be4e1342c5d4131",
        ),
        SourceFile(
            "ruler_niah_words",
            "nounlist.txt",
            f"{_WORDS}/nounlist.txt",
            "8d88b3ebc2e2969ed92ebe49cdb0c8a87c2ad3b27493d7afdff608f2e51c5bc9",
        ),
        SourceFile(
            "babi",
            "tasks_1-20_v1-2/en-10k/qa1_single-supporting-fact_test.txt",
            f"{_BABI}/tasks_1-20_v1-2/en-10k/qa1_single-supporting-fact_test.txt",
            "55acf66cef2f6d798e2aa1d056e1ec8f24e910ea9215b639450574321132959b",
        ),
        SourceFile(
            "babi",
            "tasks_1-20_v1-2/en-10k/qa1_single-supporting-fact_train.txt",
            f"{_BABI}/tasks_1-20_v1-2/en-10k/qa1_single-supporting-fact_train.txt",
            "749ea9f7c99070feb2d88c975a254417a0dcc8274add4435ae5ae24c7afc7e9d",
        ),
        SourceFile(
            "babi",
            "tasks_1-20_v1-2/en-10k/qa2_two-supporting-facts_test.txt",
            f"{_BABI}/tasks_1-20_v1-2/en-10k/qa2_two-supporting-facts_test.txt",
            "eff93fb9cd81ba02eb765772cf7cc269769ed44ec71cbbbc19cfb16ee5eba0f6",
        ),
        SourceFile(
            "babi",
            "tasks_1-20_v1-2/en-10k/qa2_two-supporting-facts_train.txt",
            f"{_BABI}/tasks_1-20_v1-2/en-10k/qa2_two-supporting-facts_train.txt",
            "d4074c0c5d54f70ce2f538056ce2b6ef6a313da336da4245f1a24f1298e37ef3",
        ),
        SourceFile(
            "babi",
            "tasks_1-20_v1-2/en-10k/qa3_three-supporting-facts_test.txt",
            f"{_BABI}/tasks_1-20_v1-2/en-10k/qa3_three-supporting-facts_test.txt",
            "17795c977100baf8188f386522ae301b62d6c1a13efc01b3aea781e588b4d57f",
        ),
        SourceFile(
            "squad",
            "dev-v1.1.json",
            f"{_SQUAD}/dev-v1.1.json",
            "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9",
        ),
        SourceFile(
            "squad",
            "train-v1.1.json",
            f"{_SQUAD}/train-v1.1.json",
            "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955",
        ),
    )
}
